// What moves in the maps, read cheaply enough to be read every second on a node of
// a thousand routes: counters, open connections, slots and the latency of late.
// Read-only, and needs no agent.
import { BackendState, Latency, Limit, None } from './abi.js';
import {
  admissionModeName,
  enforcedPercentOf,
  readField,
  regimeName,
  type AdmissionModeName,
  type FieldStatus,
  type RegimeName,
} from './control.js';
import { gearName, type GearName } from './gear.js';
import { connectEdges, latencyEdges, quantileNs, type Edges } from './histogram.js';
import { ipv4ToText } from './ipv4.js';
import { rangeOf, type Plane } from './plane.js';
import { handleAt, type RouteHandle, type RouteIndex } from './route-handle.js';
import { suspectFor, type SuspectFor } from './suspicion.js';

export type BackendStateName = Exclude<keyof typeof BackendState, 'free'>;

export interface BackendPulse {
  readonly index: number;
  /** "ip:port". */
  readonly backend: string;
  readonly state: BackendStateName;
  /** Suspect for every client. */
  readonly suspect: boolean;
  /** Suspect for one client, whose own connects failed. */
  readonly suspectForOne: boolean;
  readonly slots: number;
  readonly open: number;
  readonly picks: number;
  readonly established: number;
  readonly failed: number;
  readonly waiting: number;
  /** Of late, by bucket; forgotten exponentially. */
  readonly latencies: Float32Array;
}

export interface RoutePulse {
  readonly index: number;
  readonly name: string;
  /** What the kernel admits by: the operator's override, or the agent's mode. */
  readonly mode: AdmissionModeName;
  readonly overrideLeftMs: number | null;
  readonly gear: GearName;
  /** Of a hundred connects, those on which what is judged of backends is acted. */
  readonly enforcedPercent: number;
  readonly slots: number;
  readonly picks: number;
  readonly refused: number;
  readonly backends: readonly BackendPulse[];
}

export interface Reading {
  readonly atMs: number;
  readonly field: FieldStatus;
  readonly regime: RegimeName | null;
  readonly latency: 'first-byte' | 'connect';
  readonly routes: readonly RoutePulse[];
}

const nsPerMs = 1e6;
const stateNames = Object.keys(BackendState) as (keyof typeof BackendState)[];

/** Half of a latency is forgotten after this time. */
const halfLifeMs = 5_000;

function readersOf({ backends, backendLive, backendCounters, rtControl }: Plane) {
  return {
    state: backends.reader('state'),
    route: backends.reader('route'),
    slots: backends.elementReader('slots'),
    open: backendLive.reader('open'),
    failures: backendLive.reader('failures'),
    accusers: backendLive.reader('accusers'),
    suspectUntilNs: backendLive.reader('suspectUntilNs'),
    accuserFailures: backendLive.reader('accuserFailures'),
    accuserUntilNs: backendLive.reader('accuserUntilNs'),
    waiting: backendLive.reader('waiting'),
    picks: backendCounters.reader('picks'),
    established: backendCounters.reader('established'),
    refused: backendCounters.reader('refused'),
    timedOut: backendCounters.reader('timedOut'),
    unreachable: backendCounters.reader('unreachable'),
    connect: backendCounters.elementReader('connectHistogram'),
    firstByte: backendCounters.elementReader('firstByteHistogram'),
    admissionMode: rtControl.reader('admissionMode'),
    gear: rtControl.reader('gear'),
    observedPercent: rtControl.reader('observedPercent'),
    routePicks: rtControl.reader('picks'),
    routeRefused: rtControl.reader('refused'),
  };
}

export class Pulse {
  private readonly names: (string | undefined)[] = [];
  private readonly backendNames: { address: number; port: number; name: string }[] = [];
  private readonly recent: (Float32Array | undefined)[] = [];
  private readonly before: (Uint32Array | undefined)[] = [];
  private lastMs: number | undefined;
  private readonly routeNameBytes: Uint8Array;
  private readonly of: ReturnType<typeof readersOf>;

  constructor(private readonly plane: Plane) {
    this.routeNameBytes = new Uint8Array(plane.routeNames.buffer);
    this.of = readersOf(plane);
  }

  read(): Reading {
    const { plane } = this;
    const nowNs = plane.nowNs();
    const atMs = Number(nowNs) / nsPerMs;
    const field = readField(plane);
    const latency =
      plane.fieldState.get(0, 'latency') === Latency.firstByte ? 'first-byte' : 'connect';
    const kept = this.lastMs === undefined ? 0 : 0.5 ** ((atMs - this.lastMs) / halfLifeMs);
    this.lastMs = atMs;
    const backends = this.backends(Number(nowNs), field.activeTable === 'A' ? 0 : 1, latency, kept);
    const routes: RoutePulse[] = [];
    for (let index = 1; index < plane.rtControl.length; index++) {
      const name = this.routeName(index);
      const own = backends.get(handleAt(plane, index as RouteIndex));
      if (name === undefined && own === undefined) continue;
      routes.push(this.route(index, name ?? `#${index}`, field, nowNs, own ?? []));
    }
    return { atMs, field, regime: regimeName(field.regime), latency, routes };
  }

  private route(
    index: number,
    name: string,
    { failsafeMode, activeTable }: FieldStatus,
    nowNs: bigint,
    backends: readonly BackendPulse[],
  ): RoutePulse {
    const { rtControl } = this.plane;
    const word = rtControl.get(index, 'overrideWord');
    const overridden = (word & ~3n) > nowNs;
    const agents = admissionModeName(this.of.admissionMode(index));
    // Nobody measures any more what closed the valve: in FALLBACK it opens to soft (RFC 0002).
    const own = failsafeMode === 'fallback' && agents === 'hard' ? 'soft' : agents;
    return {
      index,
      name,
      mode: overridden ? admissionModeName(Number(word & 3n)) : own,
      overrideLeftMs: overridden ? Number((word & ~3n) - nowNs) / nsPerMs : null,
      gear: gearName(this.of.gear(index)),
      enforcedPercent: enforcedPercentOf(this.of.observedPercent(index)),
      slots: rangeOf(rtControl.get(index, 'slotRange')[activeTable === 'A' ? 0 : 1] ?? 0n).size,
      picks: this.of.routePicks(index),
      refused: this.of.routeRefused(index),
      backends,
    };
  }

  /** By route; those that were retired are left out. */
  private backends(
    nowNs: number,
    table: 0 | 1,
    latency: Reading['latency'],
    kept: number,
  ): Map<RouteHandle, BackendPulse[]> {
    const { of: read } = this;
    const suspectAfter = this.plane.fieldState.get(0, 'suspectAfter');
    const byRoute = new Map<RouteHandle, BackendPulse[]>();
    for (let index = None.none + 1; index < this.plane.backends.length; index++) {
      const code = read.state(index);
      if (code === BackendState.free || code === BackendState.retired) continue;
      const route = read.route(index) as RouteHandle;
      const suspect = this.suspectFor(index, suspectAfter, nowNs);
      const pulse: BackendPulse = {
        index,
        backend: this.backendName(index),
        state: stateName(code),
        suspect: suspect === 'all',
        suspectForOne: suspect === 'one',
        slots: read.slots(index, table),
        open: read.open(index),
        picks: read.picks(index),
        established: read.established(index),
        failed: read.refused(index) + read.timedOut(index) + read.unreachable(index),
        waiting: read.waiting(index),
        latencies: this.latencies(index, latency, kept),
      };
      const known = byRoute.get(route);
      if (known === undefined) byRoute.set(route, [pulse]);
      else known.push(pulse);
    }
    return byRoute;
  }

  private suspectFor(index: number, suspectAfter: number, nowNs: number): SuspectFor {
    const { of: read } = this;
    // Nearly every backend: the other words need not be read.
    const accuserFailures = read.accuserFailures(index);
    if (accuserFailures === 0) return 'none';
    return suspectFor(
      {
        failures: read.failures(index),
        accusers: read.accusers(index),
        suspectUntilNs: read.suspectUntilNs(index),
        accuserFailures,
        accuserUntilNs: read.accuserUntilNs(index),
      },
      suspectAfter,
      nowNs,
    );
  }

  /** The histogram's growth since the last reading, added to what is left of the earlier ones. */
  private latencies(index: number, latency: Reading['latency'], kept: number): Float32Array {
    const element = latency === 'first-byte' ? this.of.firstByte : this.of.connect;
    const buckets = bucketsOf(latency);
    let recent = this.recent[index];
    let before = this.before[index];
    const fresh = recent?.length !== buckets || before?.length !== buckets;
    if (recent === undefined || before === undefined || fresh) {
      recent = new Float32Array(buckets);
      before = new Uint32Array(buckets);
      this.recent[index] = recent;
      this.before[index] = before;
    }
    for (let bucket = 0; bucket < buckets; bucket++) {
      const now = element(index, bucket);
      const was = before[bucket] ?? 0;
      if (now === was && recent[bucket] === 0) continue;
      before[bucket] = now;
      // A count that went back belongs to another backend by now.
      const grown = fresh || now < was ? 0 : now - was;
      const left = (recent[bucket] ?? 0) * kept + grown;
      recent[bucket] = left < 0.01 ? 0 : left;
    }
    return recent;
  }

  private routeName(index: number): string | undefined {
    const at = index * Limit.routeNameBytes;
    if (this.routeNameBytes[at] === 0) return undefined;
    const known = this.names[index];
    if (known !== undefined && this.isNamed(at, known)) return known;
    const name = this.plane.routeNames.get(index, 'name');
    this.names[index] = name;
    return name;
  }

  /** Compares without decoding: names are plain ASCII, and one that is not is decoded again. */
  private isNamed(at: number, name: string): boolean {
    for (let i = 0; i < name.length; i++) {
      if (this.routeNameBytes[at + i] !== name.charCodeAt(i)) return false;
    }
    return this.routeNameBytes[at + name.length] === 0;
  }

  private backendName(index: number): string {
    const { backends } = this.plane;
    const address = backends.get(index, 'address');
    const port = backends.get(index, 'port');
    const known = this.backendNames[index];
    if (known?.address === address && known.port === port) return known.name;
    // Its index serves another by now: what was measured is not of this one.
    this.recent[index] = undefined;
    const name = `${ipv4ToText(address)}:${port}`;
    this.backendNames[index] = { address, port, name };
    return name;
  }
}

function bucketsOf(latency: Reading['latency']): number {
  return latency === 'first-byte' ? Limit.latencyBuckets : Limit.histogramBuckets;
}

function stateName(code: number): BackendStateName {
  const name = stateNames[code];
  return name === undefined || name === 'free' ? 'retired' : name;
}

export interface Quantiles {
  readonly p50Us: number | null;
  readonly p95Us: number | null;
}

/** Of one backend, or of a route's taken together. */
export function recentQuantiles(
  latency: Reading['latency'],
  backends: readonly Pick<BackendPulse, 'latencies'>[],
): Quantiles {
  const edges: Edges = latency === 'first-byte' ? latencyEdges : connectEdges;
  const sum = new Float64Array(bucketsOf(latency));
  for (const { latencies } of backends) {
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (latencies[i] ?? 0);
  }
  const us = (q: number) => {
    const ns = quantileNs(sum, edges, q);
    return ns === null ? null : ns / 1000;
  };
  return { p50Us: us(0.5), p95Us: us(0.95) };
}
