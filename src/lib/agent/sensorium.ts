// The agent's senses beside the kernel's counters: the node's sensors, triggers that
// wake it when the node stalls, and what applications say.
import type { Knobs } from '../config/knobs.js';
import type { AppSummary, NodeSignals } from '../field/signals.js';
import type { DialOutcome } from '../field/types.js';
import type { RouteSet } from '../routes/route-set.js';
import { AppSummaries } from '../sensors/app-summaries.js';
import { Dialer } from '../sensors/dialer.js';
import { NodeSensors } from '../sensors/node.js';
import { StallTrigger, type StallThreshold } from '../sensors/stall-trigger.js';
import type { Dialled, Senses } from './agent.js';
import type { AgentLog } from './log.js';

/** Stalls that cannot wait for the tick: all tasks stand still for a fifth of the window. */
const alarms: readonly StallThreshold[] = [
  { resource: 'memory', kind: 'full', stallMs: 100, windowMs: 500 },
  { resource: 'io', kind: 'full', stallMs: 200, windowMs: 500 },
];

export class Sensorium implements Senses {
  private readonly sensors = new NodeSensors();
  private readonly dialer = new Dialer();
  private readonly triggers: StallTrigger[] = [];
  private apps: AppSummaries | undefined;

  constructor(private readonly log: AgentLog) {}

  /** Calls `onStall` when the node stalls; a kernel that will not watch is a reason to go without. */
  wakeOnStall(onStall: () => void): void {
    const refused = new Set<string>();
    for (const alarm of alarms) {
      const opened = StallTrigger.open({ ...alarm, onStall });
      if (opened.kind === 'read') this.triggers.push(opened.value);
      else refused.add(opened.why);
    }
    for (const why of refused) this.log.info(`stalls are seen at the tick only: ${why}`);
  }

  async hear(
    path: string,
    knobs: Knobs,
    served: (route: string, backend: string) => boolean,
  ): Promise<void> {
    this.apps = await AppSummaries.listen(path, { served, appSummaryMs: knobs.appSummaryMs });
    this.log.info(`applications may speak at ${path}`);
  }

  /** The cgroups that these routes' local backends are in. */
  watch(routes: RouteSet): void {
    const named = routes.flatMap(({ backends }) => backends.flatMap(({ cgroup }) => cgroup ?? []));
    this.sensors.watch(named);
  }

  retune(knobs: Knobs): void {
    if (this.apps !== undefined) this.apps.appSummaryMs = knobs.appSummaryMs;
  }

  node(lagMs: number, mostOpen: number): NodeSignals {
    return this.sensors.read(performance.now(), lagMs, mostOpen);
  }

  get hearsApps(): boolean {
    return this.apps !== undefined;
  }

  app(route: string, backend: string): AppSummary | null {
    return this.apps?.read(route, backend, performance.now()) ?? null;
  }

  dial(_route: string, backend: string): DialOutcome | null {
    return this.dialer.outcome(backend);
  }

  dialNext(wanted: readonly Dialled[]): void {
    this.dialer.dialNext(new Set(wanted.map(({ backend }) => backend)), performance.now());
  }

  async close(): Promise<void> {
    for (const trigger of this.triggers) trigger.close();
    this.dialer.close();
    this.sensors.close();
    await this.apps?.close();
  }
}
