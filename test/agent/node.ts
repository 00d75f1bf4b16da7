// A node in memory for histories of an agent: the model's maps, routes told by the ports of
// their backends, and connects that say which route answered.
import { Agent, type Exclusively } from '../../src/lib/agent/agent.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource, type ModelSizes } from '../../src/lib/dataplane/model-source.js';
import type { ModelSockets } from '../../src/lib/dataplane/native.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';

const bootMs = 3_600_000;
const servicePort = 80;

/** A route called after `service`; its backends are `ports` of 127.0.0.1. */
export function route(
  service: string,
  ports: readonly number[],
  vips: readonly string[],
  more: Partial<Route> = {},
): Route {
  return {
    name: routeName(`shop/${service}`, 'http'),
    addresses: vips.map((vip) => ({ vip, port: servicePort, protocol: 'TCP' })),
    backends: ports.map((port) => ({ address: '127.0.0.1', port })),
    affinity: { kind: 'none' },
    gear: 'auto',
    ...more,
  };
}

/** What became of a connect: the port of the backend that it was sent to, or why there is none. */
export type Answer = number | 'refused' | 'untranslated';

export class Node {
  readonly source: ModelSource;
  /** The maps as they are, whatever an agent is given instead. */
  readonly plane: Plane;
  agent: Agent;
  private readonly sockets: ModelSockets;
  private readonly numbers = new Map<string, number>();

  constructor(sizes?: ModelSizes) {
    this.source = new ModelSource(defaultKnobs, sizes);
    this.source.model.setNowNs(BigInt(bootMs) * 1_000_000n);
    this.plane = this.source.plane();
    this.sockets = this.source.model.sockets(1);
    this.agent = this.appoint();
  }

  /** A fresh agent over whatever the maps hold, as after a restart. */
  appoint(plane: Plane = this.plane, exclusively: Exclusively = (change) => change()): Agent {
    this.agent = new Agent({ plane, knobs: defaultKnobs, exclusively });
    return this.agent;
  }

  get nowMs(): number {
    return Number(this.source.model.nowNs()) / 1e6;
  }

  pass(ms: number): void {
    this.source.model.setNowNs(this.source.model.nowNs() + BigInt(ms) * 1_000_000n);
  }

  /** So many ticks of 200 ms. */
  tick(times = 1) {
    for (let i = 1; i < times; i++) this.tick();
    this.pass(defaultKnobs.tickMs);
    return this.agent.tick();
  }

  dial(vip: string): Answer {
    const nowNs = Number(this.source.model.nowNs());
    const number = this.numbers.get(vip) ?? ipv4ToNumber(vip);
    this.numbers.set(vip, number);
    const port = this.sockets.connect(0, nowNs, number, servicePort, 1);
    this.sockets.connecting(0, nowNs);
    if (port === servicePort) return 'untranslated';
    if (port < 0) return 'refused';
    this.sockets.established(0, nowNs);
    this.sockets.closed(0, nowNs, 0);
    return port;
  }

  /** The answers that `times` connects get, each once. */
  answers(vip: string, times = 24): Answer[] {
    return [...new Set(Array.from({ length: times }, () => this.dial(vip)))].sort();
  }
}
