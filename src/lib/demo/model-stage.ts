// The demo without a kernel: the same programs and the same agent over plain
// memory, with time that passes as fast as it can be computed.
import { Agent } from '../agent/agent.js';
import type { Knobs } from '../config/knobs.js';
import { readField } from '../dataplane/control.js';
import { ipv4ToNumber } from '../dataplane/ipv4.js';
import { ModelSource } from '../dataplane/model-source.js';
import type { ModelSocket } from '../dataplane/native.js';
import type { Plane } from '../dataplane/plane.js';
import { Snapshot } from '../dataplane/snapshot.js';
import type { RouteName } from '../routes/route-set.js';
import {
  connectsPerSecond,
  demoPort,
  demoRoute,
  demoVip,
  healthyMs,
  slowMs,
  type Behaviour,
  type Connect,
  type Now,
  type Stage,
} from './stage.js';

const vip = ipv4ToNumber(demoVip);
const firstPort = 21_001;
/** A node that booted an hour ago: 0 would look like "no agent was ever seen". */
const bootMs = 3_600_000;
const handshakeMs = 0.05;

interface Flow {
  readonly socket: ModelSocket;
  readonly endsMs: number;
  readonly startedMs: number;
  readonly backend: number;
}

export class ModelStage implements Stage {
  readonly plane = 'model';
  private readonly source: ModelSource;
  private readonly dataplane: Plane;
  private readonly behaviours: Behaviour[];
  private agent: Agent | undefined;
  private flows: Flow[] = [];
  private connects: Connect[] = [];
  private atMs = 0;
  private nextConnectMs = 0;
  private nextTickMs = 0;
  private cookie = 1n;

  constructor(
    readonly names: readonly string[],
    private readonly knobs: Knobs,
  ) {
    this.source = new ModelSource(knobs);
    this.behaviours = names.map(() => 'healthy');
    this.setClock(0);
    this.dataplane = this.source.plane();
    this.appoint();
  }

  private setClock(atMs: number): void {
    this.atMs = atMs;
    this.source.model.setNowNs(BigInt(Math.round((bootMs + atMs) * 1e6)));
  }

  async behave(backend: number, behaviour: Behaviour): Promise<void> {
    await Promise.resolve();
    this.behaviours[backend] = behaviour;
  }

  private appoint(): void {
    this.agent = new Agent({
      plane: this.dataplane,
      knobs: this.knobs,
      exclusively: (change) => change(),
    });
    this.agent.serve([
      {
        name: demoRoute as RouteName,
        addresses: [{ vip: demoVip, port: demoPort, protocol: 'TCP' }],
        backends: this.names.map((_, i) => ({ address: '127.0.0.1', port: firstPort + i })),
        affinity: { kind: 'none' },
        gear: 'auto',
      },
    ]);
    this.nextTickMs = this.atMs;
  }

  async startAgent(): Promise<void> {
    await Promise.resolve();
    this.appoint();
    this.advance(0);
  }

  async killAgent(): Promise<void> {
    await Promise.resolve();
    this.agent = undefined;
  }

  private dial(): void {
    const socket = this.source.model.socket(this.cookie++, 1n, 0, 0);
    const to = socket.connect(vip, demoPort);
    const backend = to === null ? -1 : to.port - firstPort;
    const behaviour = this.behaviours[backend];
    if (to === null || behaviour === 'refusing' || behaviour === undefined) {
      if (to !== null) socket.ended(1, 0, false);
      socket.release();
      this.connects.push({ atMs: this.atMs, answer: null, latencyMs: 0 });
      return;
    }
    const startedMs = this.atMs;
    this.setClock(startedMs + handshakeMs);
    socket.established();
    socket.sent(1, true);
    const endsMs = startedMs + (behaviour === 'slow' ? slowMs : healthyMs);
    this.flows.push({ socket, endsMs, startedMs, backend });
  }

  private finish(flow: Flow): void {
    flow.socket.received(2, 0);
    flow.socket.release();
    this.connects.push({
      atMs: this.atMs,
      answer: this.names[flow.backend] ?? '?',
      latencyMs: this.atMs - flow.startedMs,
    });
  }

  /** Runs the world up to `untilMs`: whatever comes next, comes next. */
  private advance(untilMs: number): void {
    for (;;) {
      const [first] = this.flows.sort((a, b) => a.endsMs - b.endsMs);
      const tickMs = this.agent === undefined ? Infinity : this.nextTickMs;
      const nextMs = Math.min(first?.endsMs ?? Infinity, this.nextConnectMs, tickMs);
      if (nextMs > untilMs) break;
      this.setClock(Math.max(this.atMs, nextMs));
      if (first?.endsMs === nextMs) {
        this.flows.shift();
        this.finish(first);
      } else if (tickMs === nextMs) {
        this.agent?.tick();
        this.nextTickMs += this.knobs.tickMs;
      } else {
        this.dial();
        this.nextConnectMs += 1000 / connectsPerSecond;
      }
    }
    this.setClock(Math.max(this.atMs, untilMs));
  }

  now(): Now {
    const field = readField(this.dataplane);
    const views = new Snapshot(this.dataplane, field.activeTable === 'A' ? 0 : 1).backends();
    return {
      atMs: this.atMs,
      epoch: field.epoch,
      failsafeMode: field.failsafeMode,
      heartbeatAgeMs: field.heartbeatAgeMs,
      backends: this.names.map((name, i) => ({
        name,
        slots: views[i]?.slots ?? 0,
        state: views[i]?.state ?? 'missing',
        open: views[i]?.open ?? 0,
      })),
    };
  }

  async pass(ms: number): Promise<Connect[]> {
    await Promise.resolve();
    this.advance(this.atMs + ms);
    return this.connects.splice(0);
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}
