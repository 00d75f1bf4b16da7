// The kernel's counters as signals of one tick: what each backend did since the
// last look. A reading that cannot be true is missing, not zero.
import { Latency, Limit } from '../dataplane/abi.js';
import type { BackendEntry, RouteEntry } from '../dataplane/book.js';
import { readOverride } from '../dataplane/control.js';
import { latencyEdges } from '../dataplane/histogram.js';
import type { Plane } from '../dataplane/plane.js';
import { meanAgeMs } from '../dataplane/snapshot.js';
import { didNothing } from '../field/rest.js';
import type { AppSummary, Stalls } from '../field/signals.js';
import type {
  BackendSignals,
  ClientSignals,
  DialOutcome,
  LatencySample,
  RouteSignals,
  Waiting,
} from '../field/types.js';

/** What else is known of a backend, from beyond the kernel's counters. */
export interface Beside {
  stalls(backend: BackendEntry): Stalls | null;
  app(route: string, backend: string): AppSummary | null;
  /** What the agent's own connect met; null when it made none of late. */
  dial(route: string, backend: string): DialOutcome | null;
  /** Neither has anything to say of this backend, nor will have in this tick. */
  quiet(backend: BackendEntry): boolean;
}

/** More open connections than one node can hold: the two words were read between two writes. */
const mostOpen = 1e7;

/** The middle of each first-byte bucket, in microseconds; the first and last are open-ended. */
const buckets = Limit.latencyBuckets;
const centresUs = Array.from(
  { length: buckets },
  (_, bucket) => (latencyEdges(bucket) + latencyEdges(bucket + 1)) / 2000,
);

/** Most ticks see a few answers of a bucket: these samples are made once. */
const few = 8;
const fewAnswers = centresUs.map((us) =>
  Array.from({ length: few }, (_, count): LatencySample => ({ us, count })),
);

function sampleOf(bucket: number, count: number): LatencySample {
  return fewAnswers[bucket]?.[count] ?? { us: centresUs[bucket] ?? 0, count };
}

const nobodyWaits: Waiting = { count: 0, ageMs: 0, answeredSince: true };
const noAnswers: readonly LatencySample[] = [];
const noClients: readonly ClientSignals[] = [];

/** Microseconds in log2: the kernel adds quarter octaves of nanoseconds. */
const octaveOfUs = Math.log2(1000);

/** What a 32-bit counter of the kernel grew by. */
function grown(now: number, before: number): number {
  return (now - before) >>> 0;
}

/** Counters of a lane that are looked at. */
const laneWords = 5;

/** What was last read of each backend, by index: arrays, for a tick looks at every one of them. */
class LastLook {
  readonly seen: Uint8Array;
  readonly atNs: Float64Array;
  readonly occupancyNs: Float64Array;
  readonly open: Float64Array;
  readonly picks: Float64Array;
  readonly established: Float64Array;
  readonly failed: Float64Array;
  readonly dropped: Float64Array;
  readonly unanswered: Float64Array;
  readonly served: Float64Array;
  readonly connectNs: Float64Array;
  readonly retransmits: Float64Array;
  readonly answered: Float64Array;
  /** Undefined for one that was never answered for: its buckets were all empty. */
  readonly firstByte: (Uint32Array | undefined)[] = [];
  /** What is said of it while it does nothing. */
  readonly idle: (BackendSignals | undefined)[] = [];
  /** The counters of each lane, where several clients dial the route. */
  readonly lanes: (Float64Array | undefined)[] = [];

  constructor(backends: number) {
    this.seen = new Uint8Array(backends);
    const column = () => new Float64Array(backends);
    this.atNs = column();
    this.occupancyNs = column();
    this.open = column();
    this.picks = column();
    this.established = column();
    this.failed = column();
    this.dropped = column();
    this.unanswered = column();
    this.served = column();
    this.connectNs = column();
    this.retransmits = column();
    this.answered = column();
  }

  forget(index: number): void {
    this.seen[index] = 0;
    this.firstByte[index] = undefined;
    this.idle[index] = undefined;
    this.lanes[index] = undefined;
  }
}

/** What a counter grew by since the last look, which this one becomes; 0 on the first. */
function since(column: Float64Array, index: number, now: number, known: boolean): number {
  const before = column[index] ?? now;
  column[index] = now;
  return known ? now - before : 0;
}

/**
 * The same, made apart from those of busy backends: V8 gives objects that are written alike one
 * layout, in which what is a fraction in one is a number on the heap in all. An idle node keeps
 * a hundred thousand of these.
 */
function idleSignals(signals: BackendSignals): BackendSignals {
  const { slots, id, openMean, firstByte, waiting, stalls, app } = signals;
  return {
    slots,
    id,
    picks: 0,
    connects: 0,
    failures: 0,
    served: 0,
    unserved: 0,
    dropped: 0,
    consecutiveFailures: 0,
    accusers: 0,
    openMean: openMean === null ? null : 0,
    connectUs: null,
    retransmits: 0,
    firstByte,
    waiting,
    working: signals.working === null ? null : 0,
    clients: noClients,
    dial: null,
    stalls,
    app,
  };
}

function sameButBackends(a: RouteSignals, b: RouteSignals): boolean {
  return (
    a.name === b.name &&
    a.slots === b.slots &&
    a.refused === b.refused &&
    a.clients === b.clients &&
    a.override === b.override &&
    a.latencyReferenceUs === b.latencyReferenceUs
  );
}

export class KernelCounters {
  private readonly last: LastLook;
  private readonly refusedBefore = new Map<number, number>();
  /** Of each route, what `slots` was counted from: its ring, and its backends as asked for. */
  private readonly counted = new Map<number, Pick<RouteEntry, 'owners' | 'asked'>>();
  /** Slots that each backend owns on its route's ring, by its index. */
  private readonly slots: Uint32Array;
  /** What was last said of each route: while it does nothing, the same again. */
  private readonly said = new Map<number, RouteSignals>();
  /** The backends of the route at hand. */
  private readonly looked: BackendSignals[] = [];
  private readonly read;

  constructor(private readonly plane: Plane) {
    const { backendCounters: counters, backendLive: live, lanes, rtControl } = plane;
    this.last = new LastLook(plane.backends.length);
    this.slots = new Uint32Array(plane.backends.length);
    this.read = {
      picks: counters.reader('picks'),
      established: counters.reader('established'),
      refused: counters.reader('refused'),
      timedOut: counters.reader('timedOut'),
      unreachable: counters.reader('unreachable'),
      unheard: counters.reader('unheard'),
      firstAnswered: counters.reader('firstAnswered'),
      dropped: counters.reader('dropped'),
      unanswered: counters.reader('unanswered'),
      connectNs: counters.reader('connectNs'),
      retransmits: counters.reader('retransmits'),
      answered: counters.reader('answered'),
      firstByte: counters.elementReader('firstByteHistogram'),
      open: live.reader('open'),
      occupancyNs: live.signedReader('occupancyNs'),
      failures: live.reader('failures'),
      accusers: live.reader('accusers'),
      working: live.reader('waiting'),
      laneWorking: live.elementReader('laneWaiting'),
      laneEstablished: lanes.reader('established'),
      laneFailed: lanes.reader('failed'),
      laneAnswered: lanes.reader('answered'),
      laneLog: lanes.reader('answeredLog'),
      laneUnserved: lanes.reader('unserved'),
      laneWaiting: lanes.reader('firstWaiting'),
      client: rtControl.elementReader('clients'),
      latencyMask: rtControl.reader('latencyMask'),
      firstWaiting: live.reader('firstWaiting'),
      answeredNs: live.reader('answeredNs'),
      routeRefused: rtControl.reader('refused'),
      override: rtControl.reader('overrideWord'),
      latency: plane.fieldState.reader('latency'),
    };
  }

  /** The time-mean of the open count since the last look; null if the words contradict each other. */
  private openMean(index: number, atNs: number, known: boolean): number | null {
    const { last, read } = this;
    const open = read.open(index);
    const occupancyNs = read.occupancyNs(index);
    // occupancy + open * now is the integral of the open count (contract.h). Doubles are
    // enough: what they round off is nanoseconds of a tick.
    const area =
      occupancyNs -
      (last.occupancyNs[index] ?? 0) +
      (open * atNs - (last.open[index] ?? 0) * (last.atNs[index] ?? 0));
    const elapsedNs = atNs - (last.atNs[index] ?? 0);
    last.occupancyNs[index] = occupancyNs;
    last.open[index] = open;
    last.atNs[index] = atNs;
    if (!known || elapsedNs <= 0) return null;
    const mean = area / elapsedNs;
    return mean > -1e-6 && mean <= mostOpen ? Math.max(0, mean) : null;
  }

  /** The answers since the last look, by bucket. */
  private answers(index: number, grown: number, known: boolean): readonly LatencySample[] {
    const { last, read } = this;
    if (known && grown === 0) return noAnswers;
    if (!known) {
      const isEmpty = last.answered[index] === 0;
      last.firstByte[index] = isEmpty
        ? undefined
        : Uint32Array.from({ length: buckets }, (_, bucket) => read.firstByte(index, bucket));
      return noAnswers;
    }
    const before = (last.firstByte[index] ??= new Uint32Array(buckets));
    const samples: LatencySample[] = [];
    for (let bucket = 0; bucket < buckets; bucket++) {
      const total = read.firstByte(index, bucket);
      const count = total - (before[bucket] ?? 0);
      if (count === 0) continue;
      samples.push(sampleOf(bucket, count));
      before[bucket] = total;
    }
    return samples;
  }

  private waiting(index: number): Waiting {
    const count = this.read.firstWaiting(index);
    if (count === 0) return nobodyWaits;
    const nowNs = this.plane.nowNs();
    const sinceNs = this.plane.backendLive.get(index, 'firstSinceNs');
    const ageMs = meanAgeMs(count, sinceNs, nowNs) ?? 0;
    const answeredAgoMs = (Number(nowNs) - this.read.answeredNs(index)) / 1e6;
    return { count, ageMs, answeredSince: answeredAgoMs < ageMs };
  }

  /** Lanes that a route's clients are in. */
  private lanesOf(route: number): number[] {
    const used: number[] = [];
    for (let lane = 0; lane < Limit.lanes; lane++) {
      if (this.read.client(route, lane) !== 0) used.push(lane);
    }
    return used;
  }

  /** What each lane saw since the last look. One more client than before begins from here. */
  private clients(index: number, used: readonly number[], scale: number): readonly ClientSignals[] {
    const { last, read } = this;
    if (used.length < 2) {
      last.lanes[index] = undefined;
      return noClients;
    }
    const known = last.lanes[index];
    const before = (last.lanes[index] ??= new Float64Array(Limit.lanes * laneWords));
    const said = used.map((lane): ClientSignals => {
      const at = index * Limit.lanes + lane;
      const word = lane * laneWords;
      const now = [
        read.laneEstablished(at),
        read.laneFailed(at),
        read.laneAnswered(at),
        read.laneLog(at),
        read.laneUnserved(at),
      ];
      const [established = 0, failed = 0, answered = 0, log = 0, unserved = 0] = now.map(
        (value, i) => (known === undefined ? 0 : grown(value, known[word + i] ?? value)),
      );
      before.set(now, word);
      return {
        lane,
        connects: established + failed,
        failures: failed,
        answers: answered,
        // A quarter octave is known by its lower end: on average it is half of it more.
        logSum: answered === 0 ? 0 : log / 4 + answered * (0.125 - octaveOfUs),
        unserved,
        waiting: read.laneWaiting(at),
        working: read.laneWorking(index, lane) * scale,
      };
    });
    return said;
  }

  private signals(
    route: string,
    id: string,
    backend: BackendEntry,
    slots: number,
    measured: boolean,
    lanes: readonly number[],
    scale: number,
    atNs: number,
    beside: Beside,
  ): BackendSignals {
    const { index } = backend;
    const { last, read } = this;
    const picks = read.picks(index);
    // The first look, or an index that was given to another: nothing to compare with.
    const known = last.seen[index] === 1 && picks >= (last.picks[index] ?? 0);
    // Whatever a backend does, it does to a flow that was picked and is open.
    const idle = last.idle[index];
    if (
      known &&
      idle?.slots === slots &&
      picks === last.picks[index] &&
      last.open[index] === 0 &&
      read.open(index) === 0 &&
      beside.quiet(backend) &&
      beside.dial(route, id) === null
    ) {
      last.atNs[index] = atNs;
      return idle;
    }
    last.seen[index] = 1;
    const established = since(last.established, index, read.established(index), known);
    const failed = since(
      last.failed,
      index,
      read.refused(index) + read.timedOut(index) + read.unreachable(index) + read.unheard(index),
      known,
    );
    const dropped = since(last.dropped, index, read.dropped(index), known);
    const unanswered = since(last.unanswered, index, read.unanswered(index), known);
    const connectNs = since(last.connectNs, index, read.connectNs(index), known);
    const answered = since(last.answered, index, read.answered(index), known);
    const answers = this.answers(index, answered, known);
    const signals: BackendSignals = {
      id,
      slots,
      picks: since(last.picks, index, picks, known),
      connects: established + failed,
      failures: failed,
      served: since(last.served, index, read.firstAnswered(index), known),
      unserved: dropped + unanswered,
      dropped,
      consecutiveFailures: read.failures(index),
      accusers: read.accusers(index),
      openMean: this.openMean(index, atNs, known),
      connectUs: established > 0 ? connectNs / established / 1000 : null,
      retransmits: since(last.retransmits, index, read.retransmits(index), known),
      firstByte: measured ? answers : null,
      waiting: measured ? this.waiting(index) : null,
      working: measured ? read.working(index) * scale : null,
      clients: this.clients(index, lanes, scale),
      dial: beside.dial(route, id),
      stalls: beside.stalls(backend),
      app: beside.app(route, id),
    };
    if (!didNothing(signals)) {
      last.idle[index] = undefined;
      return signals;
    }
    return (last.idle[index] = idleSignals(signals));
  }

  /** Open connections of the backend of these routes that has the most. */
  mostOpen(routes: Iterable<RouteEntry>): number {
    let most = 0;
    for (const { backends } of routes) {
      for (const { index } of backends.values()) most = Math.max(most, this.read.open(index));
    }
    return most;
  }

  private refusedSince(index: number): number {
    const now = this.read.routeRefused(index);
    const before = this.refusedBefore.get(index) ?? now;
    this.refusedBefore.set(index, now);
    return Math.max(0, now - before);
  }

  /** Counts the slots of each backend of a route; the same ring need not be counted again. */
  private count({ index: route, asked, backends }: RouteEntry, owners: Uint32Array): void {
    const known = this.counted.get(route);
    if (known?.owners === owners && known.asked === asked) return;
    this.counted.set(route, { owners, asked });
    const { slots } = this;
    for (const { index } of backends.values()) slots[index] = 0;
    for (const owner of owners) slots[owner] = (slots[owner] ?? 0) + 1;
  }

  /** One route's signals, for the slots that its current owners hold. */
  route(entry: RouteEntry, owners: Uint32Array, beside: Beside): RouteSignals {
    const { plane, looked, said: all } = this;
    this.count(entry, owners);
    const measured = this.read.latency(0) === Latency.firstByte;
    const nowNs = plane.nowNs();
    const override =
      this.read.override(entry.index) === 0 ? undefined : readOverride(plane, entry.index, nowNs);
    const referenceMs = entry.asked?.latencyReferenceMs;
    const atNs = Number(nowNs);
    const lanes = this.lanesOf(entry.index);
    // A sample of the flows stands for all of them.
    const scale = this.read.latencyMask(entry.index) + 1;
    let count = 0;
    entry.backends.forEach((backend, id) => {
      const owned = this.slots[backend.index] ?? 0;
      looked[count++] = this.signals(
        entry.name,
        id,
        backend,
        owned,
        measured,
        lanes,
        scale,
        atNs,
        beside,
      );
    });
    const said = all.get(entry.index);
    const same = said?.backends.length === count && said.backends.every((b, i) => b === looked[i]);
    const signals: RouteSignals = {
      name: entry.name,
      slots: owners.length,
      refused: this.refusedSince(entry.index),
      clients: Math.max(1, lanes.length),
      override: override?.mode ?? null,
      latencyReferenceUs: referenceMs === undefined ? null : referenceMs * 1000,
      backends: same ? said.backends : looked.slice(0, count),
    };
    if (same && sameButBackends(said, signals)) return said;
    all.set(entry.index, signals);
    return signals;
  }

  /** What is served no more: another backend may have the index later. */
  forget(indexes: readonly number[]): void {
    for (const index of indexes) if (this.last.seen[index] === 1) this.last.forget(index);
  }
}
