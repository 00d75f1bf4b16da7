// The kernel's counters as signals of one tick: what each backend did since the
// last look. A reading that cannot be true is missing, not zero.
import { Latency } from '../dataplane/abi.js';
import type { BackendEntry, RouteEntry } from '../dataplane/book.js';
import { readOverride } from '../dataplane/control.js';
import { latencyEdges } from '../dataplane/histogram.js';
import type { Plane } from '../dataplane/plane.js';
import { meanAgeMs } from '../dataplane/snapshot.js';
import type { AppSummary, Stalls } from '../field/signals.js';
import type { BackendSignals, LatencySample, RouteSignals, Waiting } from '../field/types.js';

/** What else is known of a backend, from beyond the kernel's counters. */
export interface Beside {
  stalls(backend: BackendEntry): Stalls | null;
  app(route: string, backend: string): AppSummary | null;
}

interface Reading {
  readonly atNs: bigint;
  /** Integral of the open count over time, modulo 2^64 (contract.h, occupancy_ns). */
  readonly occupancyNs: bigint;
  readonly picks: number;
  readonly established: number;
  readonly failed: number;
  readonly unserved: number;
  readonly connectNs: number;
  readonly retransmits: number;
  readonly answered: number;
  readonly firstByte: Uint32Array;
}

/** More open connections than one node can hold: the two words were read between two writes. */
const mostOpen = 1e7;

/** The middle of each first-byte bucket, in microseconds; the first and last are open-ended. */
const centresUs = Array.from(
  { length: 64 },
  (_, bucket) => (latencyEdges(bucket) + latencyEdges(bucket + 1)) / 2000,
);

const noAnswers: readonly LatencySample[] = [];

export class KernelCounters {
  private readonly last = new Map<number, Reading>();
  private readonly refusedBefore = new Map<number, number>();
  private readonly read;

  constructor(private readonly plane: Plane) {
    const { backendCounters: counters, backendLive: live, rtControl } = plane;
    this.read = {
      picks: counters.reader('picks'),
      established: counters.reader('established'),
      refused: counters.reader('refused'),
      timedOut: counters.reader('timedOut'),
      unreachable: counters.reader('unreachable'),
      dropped: counters.reader('dropped'),
      unanswered: counters.reader('unanswered'),
      connectNs: counters.reader('connectNs'),
      retransmits: counters.reader('retransmits'),
      answered: counters.reader('answered'),
      firstByte: counters.elements('firstByteHistogram'),
      failures: live.reader('failures'),
      firstWaiting: live.reader('firstWaiting'),
      answeredNs: live.reader('answeredNs'),
      routeRefused: rtControl.reader('refused'),
      override: rtControl.reader('overrideWord'),
    };
  }

  private reading(index: number, before: Reading | undefined): Reading {
    const { plane, read } = this;
    const atNs = plane.nowNs();
    const open = plane.backendLive.get(index, 'open');
    const occupancy = plane.backendLive.get(index, 'occupancyNs');
    const answered = read.answered(index);
    return {
      atNs,
      occupancyNs: BigInt.asUintN(64, occupancy + BigInt(open) * atNs),
      picks: read.picks(index),
      established: read.established(index),
      failed: read.refused(index) + read.timedOut(index) + read.unreachable(index),
      unserved: read.dropped(index) + read.unanswered(index),
      connectNs: read.connectNs(index),
      retransmits: read.retransmits(index),
      answered,
      firstByte: before?.answered === answered ? before.firstByte : read.firstByte(index).slice(),
    };
  }

  private waiting(index: number): Waiting {
    const count = this.read.firstWaiting(index);
    if (count === 0) return { count, ageMs: 0, answeredSince: true };
    const nowNs = this.plane.nowNs();
    const sinceNs = this.plane.backendLive.get(index, 'firstSinceNs');
    const ageMs = meanAgeMs(count, sinceNs, nowNs) ?? 0;
    const answeredAgoMs = (Number(nowNs) - this.read.answeredNs(index)) / 1e6;
    return { count, ageMs, answeredSince: answeredAgoMs < ageMs };
  }

  private signals(
    route: string,
    [id, backend]: readonly [string, BackendEntry],
    slots: number,
    measured: boolean,
    beside: Beside,
  ): BackendSignals {
    const { index } = backend;
    const before = this.last.get(index);
    const now = this.reading(index, before);
    this.last.set(index, now);
    // The first look, or an index that was given to another: nothing to compare with.
    const known = before !== undefined && now.picks >= before.picks ? before : null;
    const established = now.established - (known ?? now).established;
    const unserved = now.unserved - (known ?? now).unserved;
    const failed = now.failed - (known ?? now).failed;
    return {
      id,
      slots,
      picks: now.picks - (known ?? now).picks,
      connects: established + failed,
      failures: failed + unserved,
      consecutiveFailures: this.read.failures(index),
      openMean: known === null ? null : meanOpen(known, now),
      connectUs:
        known !== null && established > 0
          ? (now.connectNs - known.connectNs) / established / 1000
          : null,
      retransmits: now.retransmits - (known ?? now).retransmits,
      firstByte: measured ? answersBetween(known, now) : null,
      waiting: measured ? this.waiting(index) : null,
      stalls: beside.stalls(backend),
      app: beside.app(route, id),
    };
  }

  private refusedSince(index: number): number {
    const now = this.read.routeRefused(index);
    const before = this.refusedBefore.get(index) ?? now;
    this.refusedBefore.set(index, now);
    return Math.max(0, now - before);
  }

  /** One route's signals, for the slots that its current owners hold. */
  route(entry: RouteEntry, owners: Uint32Array, beside: Beside): RouteSignals {
    const { plane } = this;
    const slots = new Map<number, number>();
    for (const owner of owners) slots.set(owner, (slots.get(owner) ?? 0) + 1);
    const measured = plane.fieldState.get(0, 'latency') === Latency.firstByte;
    const override =
      this.read.override(entry.index) === 0
        ? undefined
        : readOverride(plane, entry.index, plane.nowNs());
    return {
      name: entry.name,
      slots: owners.length,
      refused: this.refusedSince(entry.index),
      override: override?.mode ?? null,
      backends: [...entry.backends].map((backend) =>
        this.signals(entry.name, backend, slots.get(backend[1].index) ?? 0, measured, beside),
      ),
    };
  }

  /** Forgets the backends that are not among `indexes`. */
  keepOnly(indexes: ReadonlySet<number>): void {
    for (const index of this.last.keys()) if (!indexes.has(index)) this.last.delete(index);
  }
}

function answersBetween(before: Reading | null, now: Reading): readonly LatencySample[] {
  if (before === null || now.firstByte === before.firstByte) return noAnswers;
  const samples: LatencySample[] = [];
  now.firstByte.forEach((total, bucket) => {
    const count = total - (before.firstByte[bucket] ?? 0);
    if (count > 0) samples.push({ us: centresUs[bucket] ?? 0, count });
  });
  return samples;
}

/** The time-mean of the open count between two readings; null if they contradict each other. */
function meanOpen(before: Reading, now: Reading): number | null {
  const elapsedNs = Number(now.atNs - before.atNs);
  if (elapsedNs <= 0) return null;
  const mean = Number(BigInt.asIntN(64, now.occupancyNs - before.occupancyNs)) / elapsedNs;
  return mean >= 0 && mean <= mostOpen ? mean : null;
}
