// The maps read as a person thinks of them: routes by name, backends by address.
// Read-only, and needs no agent. What names something missing is shown as such.
import { BackendState, FlowPhase, None } from './abi.js';
import {
  admissionModeName,
  budgetOf,
  enforcedPercentOf,
  readOverride,
  type AdmissionModeName,
  type Budget,
  type Override,
} from './control.js';
import { readCounters, type CounterName } from './counters.js';
import { gearName, type GearName } from './gear.js';
import { connectEdges, latencyEdges, quantileNs } from './histogram.js';
import { ipv4ToText } from './ipv4.js';
import { codecs, mapsOf, rangeOf, tableOf, type MapName, type Plane } from './plane.js';
import {
  handleAt,
  routeIndexOf,
  routeOfBackend,
  type RouteHandle,
  type RouteIndex,
} from './route-handle.js';
import { listSockets, type SocketLister, type SocketsRefused } from './sockets.js';
import type { Struct } from './struct.js';
import { suspectFor } from './suspicion.js';

export interface RouteView {
  readonly index: RouteIndex;
  readonly handle: RouteHandle;
  readonly name: string;
  readonly addresses: readonly { vip: string; port: number; protocol: string }[];
  readonly backends: number;
  readonly slots: number;
  readonly gear: GearName;
  readonly admissionMode: AdmissionModeName;
  readonly override: Override | undefined;
  readonly budget: Budget | undefined;
  readonly affinitySeconds: number;
  /** Of a hundred connects, those on which what is judged of backends is acted. */
  readonly enforcedPercent: number;
  readonly picks: bigint;
  readonly refused: bigint;
}

export interface BackendView {
  readonly index: number;
  readonly routeHandle: RouteHandle;
  /** The route's name, or "#N" for a route that is not there. */
  readonly route: string;
  readonly backend: string;
  readonly state: keyof typeof BackendState;
  readonly slots: number;
  readonly open: number;
  readonly consecutiveFailures: number;
  /** Suspect for every client. */
  readonly suspect: boolean;
  /** Suspect for one client, whose own connects failed. */
  readonly suspectForOne: boolean;
  readonly picks: bigint;
  readonly established: bigint;
  readonly failed: bigint;
  readonly counters: Struct<'backendCounters'>;
  readonly connectP50Us: number | null;
  readonly connectP95Us: number | null;
  readonly connectP99Us: number | null;
  readonly firstByteP50Us: number | null;
  readonly firstByteP95Us: number | null;
  readonly firstByteP99Us: number | null;
  /** Measured requests without an answer yet, and their mean age. */
  readonly waiting: number;
  readonly waitingAgeMs: number | null;
}

export interface SlotsView {
  readonly route: string;
  readonly total: number;
  readonly slots: readonly { backend: string; slots: number; share: number }[];
}

/** One memory of a flow, wherever it is kept. */
export interface FlowView {
  readonly kind: 'socket' | 'bound' | 'affinity';
  readonly client: string;
  readonly route: string;
  readonly vip: string;
  readonly backend: string;
  readonly phase: string;
  readonly epoch: bigint | null;
  readonly ageMs: number | null;
}

export interface FlowsView {
  readonly flows: readonly FlowView[];
  /** Why those of sockets are not among them; null: they are. */
  readonly socketsMissing: SocketsRefused | null;
}

const protocolNames: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP' };
const stateNames = Object.keys(BackendState) as (keyof typeof BackendState)[];
const phaseNames = Object.keys(FlowPhase) as (keyof typeof FlowPhase)[];

function micros(ns: number | null): number | null {
  return ns === null ? null : Math.round(ns / 100) / 10;
}

/** The mean age of `count` things whose start times sum to `sinceNs`, modulo 2^64 (contract.h). */
export function meanAgeMs(count: number, sinceNs: bigint, nowNs: bigint): number | null {
  if (count === 0) return null;
  const ageNs = BigInt.asIntN(64, BigInt(count) * nowNs - sinceNs);
  return Math.max(0, Math.round(Number(ageNs) / count / 1e5) / 10);
}

export class Snapshot {
  private readonly names = new Map<RouteHandle, string>();

  constructor(
    private readonly plane: Plane,
    /** Table 0 (A) or 1 (B) that the kernel decides by. */
    readonly table: 0 | 1 = tableOf(plane.word('epoch')),
  ) {
    for (let index = 1; index < plane.rtControl.length; index++) {
      const name = plane.routeNames.get(index, 'name');
      if (name !== '') this.names.set(handleAt(plane, index as RouteIndex), name);
    }
  }

  /** "#N" for a handle of which no route is left, whoever has its index N by now. */
  private routeName(handle: RouteHandle): string {
    return this.names.get(handle) ?? `#${routeIndexOf(handle)}`;
  }

  /** "ip:port" of a backend's index, or what is wrong with it. */
  private backendName(index: number): string {
    if (index === None.none) return '(none)';
    if (index >= this.plane.backends.length) return `(#${index} out of range)`;
    const { address, port, state } = this.plane.backends.read(index);
    if (state === BackendState.free) return `(#${index} missing)`;
    return `${ipv4ToText(address)}:${port}`;
  }

  private addresses(): Map<RouteHandle, RouteView['addresses'][number][]> {
    const { keys, values, count } = this.plane.routes.entries();
    const words = new DataView(values.buffer, values.byteOffset);
    const byRoute = new Map<RouteHandle, RouteView['addresses'][number][]>();
    for (let i = 0; i < count; i++) {
      const size = codecs.routeKey.size;
      const key = codecs.routeKey.decodeBytes(keys.subarray(i * size, (i + 1) * size));
      const route = words.getUint32(i * 4, true) as RouteHandle;
      const protocol = protocolNames[key.protocol] ?? String(key.protocol);
      const known = byRoute.get(route) ?? [];
      known.push({ vip: ipv4ToText(key.vip), port: key.port, protocol });
      byRoute.set(route, known);
    }
    return byRoute;
  }

  routes(): RouteView[] {
    const addresses = this.addresses();
    const backends = new Map<RouteHandle, number>();
    for (const { routeHandle, state } of this.backends()) {
      if (state !== 'retired') backends.set(routeHandle, (backends.get(routeHandle) ?? 0) + 1);
    }
    const nowNs = this.plane.nowNs();
    // An address may name a route group that nobody named: shown, not hidden.
    const handles = [...new Set([...this.names.keys(), ...addresses.keys()])].sort(
      (a, b) => routeIndexOf(a) - routeIndexOf(b),
    );
    return handles.map((handle) => {
      const index = routeIndexOf(handle);
      const control = this.control(index, handle);
      return {
        index,
        handle,
        name: this.routeName(handle),
        addresses: addresses.get(handle) ?? [],
        backends: backends.get(handle) ?? 0,
        slots: rangeOf(control.slotRange[this.table] ?? 0n).size,
        gear: gearName(control.gear),
        admissionMode: admissionModeName(control.admissionMode),
        override: readOverride(this.plane, index, nowNs),
        budget: budgetOf(control.tokenNs, control.burstNs),
        affinitySeconds: control.affinitySeconds,
        enforcedPercent: enforcedPercentOf(control.observedPercent),
        picks: control.picks,
        refused: control.refused,
      };
    });
  }

  /** A route's control; nothing but zeros where its index is another's by now. */
  private control(index: RouteIndex, handle: RouteHandle): Struct<'rtControl'> {
    const { rtControl } = this.plane;
    if (index < rtControl.length && handleAt(this.plane, index) === handle) {
      return rtControl.read(index);
    }
    return rtControl.codec.decodeBytes(new Uint8Array(rtControl.codec.size));
  }

  backends(): BackendView[] {
    const views: BackendView[] = [];
    const { plane } = this;
    const nowNs = plane.nowNs();
    const suspectAfter = plane.fieldState.get(0, 'suspectAfter');
    for (let index = 1; index < plane.backends.length; index++) {
      const code = plane.backends.get(index, 'state');
      if (code === BackendState.free) continue;
      const backend = plane.backends.read(index);
      const live = plane.backendLive.read(index);
      const counters = plane.backendCounters.read(index);
      const { connectHistogram, firstByteHistogram } = counters;
      const suspect = suspectFor(live, suspectAfter, nowNs);
      views.push({
        index,
        routeHandle: routeOfBackend(plane, index),
        route: this.routeName(routeOfBackend(plane, index)),
        backend: `${ipv4ToText(backend.address)}:${backend.port}`,
        state: stateNames.find((name) => BackendState[name] === code) ?? 'free',
        slots: backend.slots[this.table] ?? 0,
        open: live.open,
        consecutiveFailures: live.failures,
        suspect: suspect === 'all',
        suspectForOne: suspect === 'one',
        picks: counters.picks,
        established: counters.established,
        failed: counters.refused + counters.timedOut + counters.unreachable,
        counters,
        connectP50Us: micros(quantileNs(connectHistogram, connectEdges, 0.5)),
        connectP95Us: micros(quantileNs(connectHistogram, connectEdges, 0.95)),
        connectP99Us: micros(quantileNs(connectHistogram, connectEdges, 0.99)),
        firstByteP50Us: micros(quantileNs(firstByteHistogram, latencyEdges, 0.5)),
        firstByteP95Us: micros(quantileNs(firstByteHistogram, latencyEdges, 0.95)),
        firstByteP99Us: micros(quantileNs(firstByteHistogram, latencyEdges, 0.99)),
        waiting: live.waiting,
        waitingAgeMs: meanAgeMs(live.waiting, live.waitingSinceNs, nowNs),
      });
    }
    return views;
  }

  slots(): SlotsView[] {
    return [...this.names].map(([handle, route]) => {
      const { base, size } = rangeOf(
        this.plane.rtControl.get(routeIndexOf(handle), 'slotRange')[this.table] ?? 0n,
      );
      const owned = new Map<number, number>();
      for (const owner of this.plane.slotTables[this.table].subarray(base, base + size)) {
        owned.set(owner, (owned.get(owner) ?? 0) + 1);
      }
      const slots = [...owned]
        .map(([owner, count]) => ({
          backend: this.backendName(owner),
          slots: count,
          share: count / size,
        }))
        .sort((a, b) => (a.backend < b.backend ? -1 : 1));
      return { route, total: size, slots };
    });
  }

  /** Node totals by reason, summed over the CPUs. */
  counters(): Record<CounterName, bigint> {
    return readCounters(this.plane);
  }

  maps(): {
    name: MapName;
    id: number;
    type: number;
    keySize: number;
    valueSize: number;
    maxEntries: number;
    memoryBytes: number;
  }[] {
    return mapsOf(this.plane.fieldState.get(0, 'schema')).map((name) => {
      const { id, type, keySize, valueSize, maxEntries } = this.plane.handle(name).info();
      return {
        name,
        id,
        type,
        keySize,
        valueSize,
        maxEntries,
        memoryBytes: maxEntries * (keySize + valueSize),
      };
    });
  }

  /** Every memory of a flow: sockets', bound sources' and clients' affinities. */
  flows(list: SocketLister = listSockets): FlowsView {
    const listing = list(this.plane);
    const remembered = [...this.boundFlows(), ...this.affinities()];
    if (listing.kind === 'refused') return { flows: remembered, socketsMissing: listing };
    return {
      flows: [...listing.sockets.map((socket) => this.socketFlow(socket)), ...remembered],
      socketsMissing: null,
    };
  }

  private ageMs(sinceNs: bigint): number {
    return Math.max(0, Number((this.plane.nowNs() - sinceNs) / 1_000_000n));
  }

  private socketFlow({ flow, source, sourcePort }: Struct<'socket'>): FlowView {
    return {
      kind: 'socket',
      client: `${ipv4ToText(source)}:${sourcePort}`,
      route: this.routeName(flow.route as RouteHandle),
      vip: `${ipv4ToText(flow.vip)}:${flow.vipPort}`,
      backend: `${ipv4ToText(flow.address)}:${flow.port}`,
      phase: phaseNames.find((name) => FlowPhase[name] === flow.phase) ?? String(flow.phase),
      epoch: flow.epoch,
      ageMs: this.ageMs(flow.startedNs),
    };
  }

  private boundFlows(): FlowView[] {
    const { keys, values, count } = this.plane.handle('conntrack').entries();
    return Array.from({ length: count }, (_, i) => {
      const key = codecs.conntrackKey.decodeBytes(keys.subarray(i * codecs.conntrackKey.size));
      const value = codecs.conntrack.decodeBytes(values.subarray(i * codecs.conntrack.size));
      return {
        kind: 'bound' as const,
        client: `${ipv4ToText(key.source)}:${key.sourcePort}`,
        route: this.routeOf(value.backend),
        vip: `${ipv4ToText(key.vip)}:${key.vipPort}`,
        backend: this.backendName(value.backend),
        phase: 'remembered',
        epoch: value.epoch,
        ageMs: this.ageMs(value.lastSeenNs),
      };
    });
  }

  private affinities(): FlowView[] {
    const { keys, values, count } = this.plane.handle('affinity').entries();
    return Array.from({ length: count }, (_, i) => {
      const key = codecs.affinityKey.decodeBytes(keys.subarray(i * codecs.affinityKey.size));
      const value = codecs.affinity.decodeBytes(values.subarray(i * codecs.affinity.size));
      return {
        kind: 'affinity' as const,
        client: `netns ${key.netnsCookie}`,
        route: this.routeName(key.route as RouteHandle),
        vip: '',
        backend: this.backendName(value.backend),
        phase: value.expiresNs > this.plane.nowNs() ? 'remembered' : 'expired',
        epoch: null,
        ageMs: null,
      };
    });
  }

  private routeOf(backend: number): string {
    if (backend === None.none || backend >= this.plane.backends.length) return '(none)';
    return this.routeName(routeOfBackend(this.plane, backend));
  }
}
