// What the other backends of a route show at the same time: the measure that every
// backend is held against. What all do alike says nothing of any one of them.
import { must } from './arithmetic.js';
import { typicalLog } from './memory.js';
import type { BackendMemory, BackendSignals } from './types.js';

/** The outcomes of the admitted backends of a route but one, over the time that is remembered. */
export interface Peers {
  /** How many they are. */
  readonly backends: number;
  readonly connects: number;
  readonly failures: number;
  readonly served: number;
  readonly unserved: number;
  /** First requests that wait now. */
  readonly waiting: number;
  /** The median of their typical latencies, in log2 of microseconds; null without answers. */
  readonly typicalLog: number | null;
  /** The same of the quarter of them that answers soonest. */
  readonly quickLog: number | null;
  /** Answers that this is made of, and those of them that were slow. */
  readonly answers: number;
  /** Of these, those that were slow beyond what is tolerated. */
  readonly slow: number;
  /** The slowest answer of late, in log2 of microseconds. */
  readonly slowestLog: number | null;
  /** The agent's own connect reached one of them: so its connects are to be believed. */
  readonly reached: boolean;
  /** Mean of the requests that they work on; null when nobody's are measured. */
  readonly working: number | null;
}

interface Totals {
  connects: number;
  failures: number;
  served: number;
  unserved: number;
  waiting: number;
  answers: number;
  slow: number;
}

/** The greatest of several numbers, and the next: so that each can be left out. */
class TopTwo {
  private best: number | null = null;
  private next: number | null = null;

  add(value: number): void {
    if (this.best === null || value > this.best) {
      this.next = this.best;
      this.best = value;
    } else if (this.next === null || value > this.next) {
      this.next = value;
    }
  }

  /** The greatest of the others. */
  without(value: number | null): number | null {
    return value !== null && value === this.best ? this.next : this.best;
  }
}

/** The value that a part of the others is not above: of sorted values, without one of them. */
function quantileWithout(sorted: Float64Array, value: number | null, part: number): number | null {
  const others = sorted.length - (value === null ? 0 : 1);
  if (others === 0) return null;
  const rank = Math.floor((others - 1) * part);
  if (value === null) return must(sorted[rank]);
  return must(sorted[rank < sorted.indexOf(value) ? rank : rank + 1]);
}

const none: Totals = {
  connects: 0,
  failures: 0,
  served: 0,
  unserved: 0,
  waiting: 0,
  answers: 0,
  slow: 0,
};

/** One for each backend, in their order. An isolated one is nobody's peer. */
export function peersOf(
  backends: readonly BackendSignals[],
  memories: readonly BackendMemory[],
): Peers[] {
  const total = { ...none };
  const slowest = new TopTwo();
  const typical: number[] = [];
  let working = 0;
  let measured = 0;
  let reached = 0;
  let admitted = 0;
  const own = memories.map((memory, i) => {
    const signals = must(backends[i]);
    const isPeer = memory.circuit.kind !== 'isolated';
    const log = isPeer ? typicalLog(memory) : null;
    const waiting = signals.waiting?.count ?? 0;
    const mine = isPeer ? memory : none;
    if (isPeer) {
      admitted++;
      total.connects += memory.connects;
      total.failures += memory.failures;
      total.served += memory.served;
      total.unserved += memory.unserved;
      total.waiting += waiting;
      total.answers += memory.answers;
      total.slow += memory.slow;
      if (signals.dial === 'open') reached++;
      if (memory.slowestLog !== null) slowest.add(memory.slowestLog);
      if (log !== null) typical.push(log);
      if (memory.working !== null) {
        working += memory.working;
        measured++;
      }
    }
    const opened = isPeer && signals.dial === 'open' ? 1 : 0;
    return { memory, mine, log, waiting: isPeer ? waiting : 0, isPeer, opened };
  });
  const sorted = Float64Array.from(typical).sort();
  return own.map(({ memory, mine, log, waiting, isPeer, opened }): Peers => {
    const counted = isPeer && memory.working !== null;
    const others = measured - (counted ? 1 : 0);
    return {
      backends: admitted - (isPeer ? 1 : 0),
      connects: Math.max(0, total.connects - mine.connects),
      failures: Math.max(0, total.failures - mine.failures),
      served: Math.max(0, total.served - mine.served),
      unserved: Math.max(0, total.unserved - mine.unserved),
      waiting: total.waiting - waiting,
      answers: Math.max(0, total.answers - mine.answers),
      slow: Math.max(0, total.slow - mine.slow),
      reached: reached > opened,
      typicalLog: quantileWithout(sorted, log, 0.5),
      quickLog: quantileWithout(sorted, log, 0.25),
      slowestLog: slowest.without(isPeer ? memory.slowestLog : null),
      working: others === 0 ? null : Math.max(0, working - (counted ? memory.working : 0)) / others,
    };
  });
}

/** A share of bad outcomes, with one of each added: few outcomes say little (Laplace). */
export function shareOf(bad: number, good: number): number {
  return (bad + 1) / (bad + good + 2);
}
