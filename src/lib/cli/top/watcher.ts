// Where a frame comes from: the maps, which need nobody, the node's own pressure files,
// and the agent where one answers.
import { hostname } from 'node:os';

import { askAgent, askChanges, type Changes, type DatedReason } from '../../agent/report.js';
import { openPlane, pinIdentity } from '../../dataplane/pins.js';
import type { Plane } from '../../dataplane/plane.js';
import { Pulse, type Reading } from '../../dataplane/pulse.js';
import { NodeStalls } from '../../sensors/node-stalls.js';
import { rowsOf, type TopFrame } from './frame.js';

const mostChanges = 200;

export class TopWatcher {
  private plane: Plane;
  private pulse: Pulse;
  private identity: string;
  private before: Reading | undefined;
  private readonly stalls = new NodeStalls();
  /** With the time each was seen, so that they go on ageing when the agent is gone. */
  private changes: { readonly change: DatedReason; readonly atMs: number }[] = [];
  private lastTick = 0;
  private agentPid: number | undefined;

  constructor(private readonly pinPath: string) {
    this.plane = openPlane(pinPath);
    this.pulse = new Pulse(this.plane);
    this.identity = pinIdentity(pinPath);
  }

  /** What is so now, with rates since the last frame. Throws when the dataplane is gone. */
  async frame(route: string | null): Promise<TopFrame> {
    this.follow();
    const reading = this.pulse.read();
    const routes = rowsOf(reading, this.before);
    this.before = reading;
    const nowMs = performance.now();
    const told = await askChanges(this.pinPath, this.lastTick);
    if (told !== null) this.hear(told, nowMs);
    const report = route === null || told === null ? null : await askAgent(this.pinPath, route);
    return {
      host: hostname(),
      field: reading.field,
      regime: reading.regime,
      latency: reading.latency,
      routes,
      stalls: this.stalls.look(nowMs),
      agent: told === null ? null : agentOf(told),
      changes: this.changes.map(({ change, atMs }) => ({ ...change, agoMs: nowMs - atMs })),
      explained: report?.routes.find(({ name }) => name === route) ?? null,
    };
  }

  close(): void {
    this.stalls.close();
    this.plane.close();
  }

  /** Maps that were unloaded and loaded again are others, though their pins have the same names. */
  private follow(): void {
    const identity = pinIdentity(this.pinPath);
    if (identity === this.identity) return;
    this.plane.close();
    this.plane = openPlane(this.pinPath);
    this.pulse = new Pulse(this.plane);
    this.before = undefined;
    this.identity = identity;
  }

  private hear({ pid, sequence, changes }: Changes, nowMs: number): void {
    // Another agent counts its ticks from the beginning.
    if (this.agentPid !== pid || sequence < this.lastTick) this.lastTick = 0;
    this.agentPid = pid;
    const fresh = changes
      .filter((change) => change.sequence > this.lastTick)
      .map((change) => ({ change, atMs: nowMs - change.agoMs }));
    this.changes = [...fresh, ...this.changes].slice(0, mostChanges);
    this.lastTick = sequence;
  }
}

function agentOf({ pid, sequence, agoMs, outcome, node }: Changes): TopFrame['agent'] {
  return { pid, sequence, agoMs, outcome, node };
}
