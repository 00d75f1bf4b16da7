// Our node in the simulated world: the programs of nity.bpf.c over plain memory and the
// very agent that runs on a real node, by the world's clock.
import { Agent, type Senses, type Tick } from '../../agent/agent.js';
import type { Knobs } from '../../config/knobs.js';
import { tableSize, type RouteEntry } from '../../dataplane/book.js';
import { readField } from '../../dataplane/control.js';
import { ModelSource } from '../../dataplane/model-source.js';
import type { ModelSockets } from '../../dataplane/native.js';
import type { Plane } from '../../dataplane/plane.js';
import { Projector } from '../../dataplane/projector.js';
import { assignRing } from '../../field/ring.js';
import { nothingSensed } from '../../field/signals.js';
import type { Law } from '../../field/step.js';
import type { DialOutcome } from '../../field/types.js';
import type { End } from '../balancer.js';
import type { Route, RouteName } from '../../routes/route-set.js';
import type { Front, Parting } from './front.js';

/** A node that booted an hour ago: 0 would look like "no agent was ever seen". */
const bootNs = 3_600_000_000_000;
const servicePort = 80;
/** 127.96.0.0: the addresses that an untranslated connect harms nobody with. */
const firstVip = 0x7f60_0001;
/** Endpoints are told apart by address and port, so that they may be more than ports. */
const firstPort = 1024;

export interface NityFrontOptions {
  /** Whether an endpoint would take a connection of the agent's now. */
  readonly accepts: (endpoint: number) => boolean;
  readonly node: number;
  readonly nodes: number;
  readonly services: number;
  /** Most endpoints that there will ever be at a time, and connections. */
  readonly endpoints: number;
  readonly connections: number;
  readonly knobs: Knobs;
  /** `bare`: the dataplane with a heartbeat, and nobody who judges. */
  readonly judge: 'agent' | 'bare';
  readonly onTick: (node: number, nowMs: number, tick: Tick, serving: Serving) => void;
  /** The law, if not the one that Nity ships. */
  readonly law: Law;
}

/** What a tick left in the maps, to be looked into. */
export interface Serving {
  readonly plane: Plane;
  readonly entries: Iterable<RouteEntry>;
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

export class NityFront implements Front {
  readonly plane: Plane;
  private readonly source: ModelSource;
  private readonly sockets: ModelSockets;
  private readonly routes: Route[] = [];
  /** Backends that the agent dials, and what it met. */
  private readonly dialled = new Map<string, DialOutcome>();
  private readonly senses: Senses = {
    node: (lagMs) => ({ ...nothingSensed('a simulated node has no sensors'), loopLagMs: lagMs }),
    app: () => null,
    hearsApps: false,
    dial: (_route, backend) => this.dialled.get(backend) ?? null,
    dialNext: (wanted) => {
      this.dialled.clear();
      for (const { backend } of wanted) {
        const endpoint = Number(backend.slice(backend.indexOf(':') + 1)) - firstPort;
        this.dialled.set(backend, this.options.accepts(endpoint) ? 'open' : 'closed');
      }
    },
  };
  private agent: Agent | undefined;
  private bare: Projector | undefined;
  private mustServe = true;

  constructor(private readonly options: NityFrontOptions) {
    const { knobs, services, endpoints, connections } = options;
    const each = tableSize(Math.ceil((2 * endpoints) / services), knobs.slotsPerRoute);
    this.source = new ModelSource(knobs, {
      slots: 4 * services * each,
      routes: services + 16,
      // Indices of those that are gone rest for a while before they are given to others.
      backends: 4 * endpoints + 64,
      addresses: services + 16,
      flows: 64,
    });
    this.sockets = this.source.model.sockets(connections);
    this.clock(0);
    this.plane = this.source.plane();
    this.appoint();
  }

  /** Time as the model has it, in ns. */
  private ns(nowMs: number): number {
    return bootNs + Math.round(nowMs * 1e6);
  }

  private clock(nowMs: number): void {
    this.source.model.setNowNs(BigInt(this.ns(nowMs)));
  }

  /** A fresh agent over whatever field there is. */
  appoint(): void {
    const { knobs, judge, node, law } = this.options;
    if (judge === 'agent') {
      this.agent = new Agent({
        plane: this.plane,
        knobs,
        exclusively: (change) => change(),
        senses: this.senses,
        phase: node,
        law,
      });
    } else {
      this.bare = new Projector(this.plane, {
        slotsPerRoute: knobs.slotsPerRoute,
        defaultGear: 'twin',
      });
    }
    this.mustServe = true;
  }

  die(): void {
    this.agent = undefined;
    this.bare = undefined;
  }

  serve(_nowMs: number, service: number, endpoints: readonly number[]): void {
    this.routes[service] = {
      name: `sim/s${service}:${servicePort}` as RouteName,
      addresses: [{ vip: dotted(firstVip + service), port: servicePort, protocol: 'TCP' }],
      backends: endpoints.map((endpoint) => ({
        address: '127.0.0.1',
        port: firstPort + endpoint,
      })),
      affinity: { kind: 'none' },
      gear: 'auto',
    };
    this.mustServe = true;
  }

  /** One tick of the agent, or a heartbeat where nobody judges. */
  tick(nowMs: number): void {
    this.clock(nowMs);
    if (this.agent !== undefined) {
      if (this.mustServe) this.agent.serve(this.routes);
      this.mustServe = false;
      const tick = this.agent.tick();
      const { plane } = this;
      const entries = this.agent.projector.book.routes.values();
      this.options.onTick(this.options.node, nowMs, tick, { plane, entries });
    } else if (this.bare !== undefined) {
      if (this.mustServe) this.deal(this.bare);
      this.mustServe = false;
      this.bare.project();
    }
  }

  /** Even shares, and never another. */
  private deal(projector: Projector): void {
    projector.reconcile(this.routes);
    for (const entry of projector.book.routes.values()) {
      const ring = projector.ring(entry);
      const owners = [...entry.backends.values()].map(({ index }) => index);
      const counts = new Map(
        owners.map((owner, i): [number, number] => [
          owner,
          Math.floor(ring.length / owners.length) + (i < ring.length % owners.length ? 1 : 0),
        ]),
      );
      if (ring.length > 0) {
        projector.setOwners(entry, assignRing(ring, counts, this.options.node));
      }
    }
  }

  failsafeMode(nowMs: number): 'normal' | 'hold' | 'fallback' {
    this.clock(nowMs);
    return readField(this.plane).failsafeMode;
  }

  /** A client's number stands for its network namespace. */
  dial(connection: number, service: number, client: number, nowMs: number): number {
    const port = this.sockets.connect(
      connection,
      this.ns(nowMs),
      firstVip + service,
      servicePort,
      client,
    );
    return port < 0 ? -1 : port - firstPort;
  }

  connecting(connection: number, nowMs: number): void {
    this.sockets.connecting(connection, this.ns(nowMs));
  }

  repeated(connection: number, nowMs: number): void {
    this.sockets.repeated(connection, this.ns(nowMs));
  }

  established(connection: number, nowMs: number): void {
    this.sockets.established(connection, this.ns(nowMs));
  }

  sent(connection: number, before: number, acknowledged: boolean, nowMs: number): void {
    this.sockets.sent(connection, this.ns(nowMs), before, acknowledged ? 1 : 0);
  }

  answered(connection: number, sends: number, nowMs: number): void {
    this.sockets.received(connection, this.ns(nowMs), sends);
  }

  over(
    connection: number,
    nowMs: number,
    _endpoint: number,
    _latencyMs: number,
    _end: End,
    parting: Parting,
  ): void {
    const ns = this.ns(nowMs);
    if (parting === 'reset') this.sockets.reset(connection, ns);
    if (parting === 'finished') this.sockets.finished(connection, ns);
    this.sockets.closed(connection, ns, parting === 'backend' ? 1 : 0);
  }
}
