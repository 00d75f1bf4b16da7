// The kernel's counters as signals of one tick: what each backend did since the
// last look. A reading that cannot be true is missing, not zero.
import type { RouteEntry } from '../dataplane/book.js';
import type { Plane } from '../dataplane/plane.js';
import type { BackendSignals, RouteSignals } from '../field/types.js';

interface Reading {
  readonly atNs: bigint;
  /** Integral of the open count over time, modulo 2^64 (contract.h, occupancy_ns). */
  readonly occupancyNs: bigint;
  readonly established: number;
  readonly failed: number;
  readonly connectNs: number;
}

/** More open connections than one node can hold: the two words were read between two writes. */
const mostOpen = 1e7;

export class KernelCounters {
  private readonly last = new Map<number, Reading>();
  private readonly established;
  private readonly refused;
  private readonly timedOut;
  private readonly unreachable;
  private readonly connectNs;
  private readonly failures;

  constructor(private readonly plane: Plane) {
    const counters = plane.backendCounters;
    this.established = counters.reader('established');
    this.refused = counters.reader('refused');
    this.timedOut = counters.reader('timedOut');
    this.unreachable = counters.reader('unreachable');
    this.connectNs = counters.reader('connectNs');
    this.failures = plane.backendLive.reader('failures');
  }

  private read(index: number): Reading {
    const atNs = this.plane.nowNs();
    const open = this.plane.backendLive.get(index, 'open');
    const occupancy = this.plane.backendLive.get(index, 'occupancyNs');
    return {
      atNs,
      occupancyNs: BigInt.asUintN(64, occupancy + BigInt(open) * atNs),
      established: this.established(index),
      failed: this.refused(index) + this.timedOut(index) + this.unreachable(index),
      connectNs: this.connectNs(index),
    };
  }

  private signals(id: string, index: number, slots: number): BackendSignals {
    const now = this.read(index);
    const before = this.last.get(index);
    this.last.set(index, now);
    const quiet = { id, slots, consecutiveFailures: this.failures(index) };
    if (before === undefined || now.established < before.established) {
      // The first look, or an index that was given to another: nothing to compare with.
      return { ...quiet, openMean: null, connectLatencyUs: null, connects: 0, failures: 0 };
    }
    const established = now.established - before.established;
    const failures = now.failed - before.failed;
    const connectNs = now.connectNs - before.connectNs;
    return {
      ...quiet,
      openMean: meanOpen(before, now),
      connectLatencyUs: established > 0 ? connectNs / established / 1000 : null,
      connects: established + failures,
      failures,
    };
  }

  /** One route's signals, for the slots that its current owners hold. */
  route(entry: RouteEntry, owners: Uint32Array): RouteSignals {
    const slots = new Map<number, number>();
    for (const owner of owners) slots.set(owner, (slots.get(owner) ?? 0) + 1);
    return {
      name: entry.name,
      slots: owners.length,
      backends: [...entry.backends].map(([id, { index }]) =>
        this.signals(id, index, slots.get(index) ?? 0),
      ),
    };
  }

  /** Forgets the backends that are not among `indexes`. */
  keepOnly(indexes: ReadonlySet<number>): void {
    for (const index of this.last.keys()) if (!indexes.has(index)) this.last.delete(index);
  }
}

/** The time-mean of the open count between two readings; null if they contradict each other. */
function meanOpen(before: Reading, now: Reading): number | null {
  const elapsedNs = Number(now.atNs - before.atNs);
  if (elapsedNs <= 0) return null;
  const mean = Number(BigInt.asIntN(64, now.occupancyNs - before.occupancyNs)) / elapsedNs;
  return mean >= 0 && mean <= mostOpen ? mean : null;
}
