// What is normal: a route's long-run latency and spread, and each backend's own.
// Latency is judged against these, never against an absolute figure.
import type { Knobs } from '../config/knobs.js';
import { average, clamp, gain, median } from './arithmetic.js';
import { answersOf, netLog, typicalLog } from './memory.js';
import type { BackendMemory, BackendSignals, Reference } from './types.js';

export const noReference: Reference = { log: null, spread: 0, ticks: 0 };

/** How much slower than its route a backend may always have been, in octaves. */
const nature = 2;
/** What one answer can say at most, in octaves: a stray one must not isolate. */
const most = 4;
/** Half-life of evidence, when there are no new answers. */
const evidenceMs = 5_000;

interface TickLatency {
  /** Mean log2 of the tick's answers of each backend; null where there was none. */
  readonly means: readonly (number | null)[];
  readonly median: number | null;
  readonly variance: number | null;
}

function tickLatency(
  signals: readonly BackendSignals[],
  memories: readonly BackendMemory[],
): TickLatency {
  let count = 0;
  let squares = 0;
  const means = signals.map((backend, i) => {
    const path = memories[i]?.pathUs ?? null;
    const samples = answersOf(backend);
    let own = 0;
    let total = 0;
    for (const sample of samples) {
      own += sample.count;
      total += sample.count * netLog(sample, path);
    }
    if (own === 0) return null;
    const mean = total / own;
    const typical = typicalLog(memories[i] as BackendMemory) ?? mean;
    for (const sample of samples) {
      const away = netLog(sample, path) - typical;
      squares += sample.count * away * away;
    }
    count += own;
    return mean;
  });
  const known = means.filter((mean) => mean !== null);
  return {
    means,
    median: known.length < 3 ? null : median(known),
    variance: count === 0 ? null : squares / count,
  };
}

/** Follows the route's typical backend: quickly at first, then over the reference time. */
function follow(
  before: Reference,
  typical: number | null,
  variance: number | null,
  dtMs: number,
  knobs: Knobs,
): Reference {
  if (typical === null) return before;
  const alpha = Math.max(gain(dtMs, knobs.referenceMs), 1 / (before.ticks + 1));
  return {
    log: average(before.log, typical, alpha),
    spread: before.spread + alpha * ((variance ?? before.spread) - before.spread),
    ticks: Math.min(before.ticks + 1, 1_000_000),
  };
}

/** Octaves above normal from which an answer speaks for isolation. */
export function tolerated(reference: Reference, knobs: Knobs, slower: number): number {
  // Heavy tails are normal where they are: 1.5 standard deviations.
  return Math.max(slower, clamp(Math.sqrt(reference.spread) * 1.5, 0, 2 * slower + knobs.epsilon));
}

/**
 * The normal latency that this backend's answers are judged by: its route's,
 * or its own if it has always been slower, or its peers' of this very tick if
 * all have become so.
 */
export function normalLog(
  memory: BackendMemory,
  reference: Reference,
  peers: number | null,
): number | null {
  if (reference.log === null) return null;
  const own = clamp(memory.ownLog ?? reference.log, reference.log, reference.log + nature);
  return Math.max(own, peers ?? own);
}

export interface Judged {
  readonly reference: Reference;
  readonly memories: readonly BackendMemory[];
  /** Whether any of the tick's answers was slow, and whether any was not. */
  readonly slow: readonly boolean[];
  readonly good: readonly boolean[];
}

/**
 * Adds the tick's answers to the evidence against each backend: a one-sided
 * CUSUM (Page 1954) of log2 latency over normal. Few answers that are plainly
 * slow suffice; many that are a little slow never do.
 */
export function judgeLatency(
  before: Reference,
  signals: readonly BackendSignals[],
  memories: readonly BackendMemory[],
  slowerOctaves: number,
  dtMs: number,
  knobs: Knobs,
): Judged {
  const tick = tickLatency(signals, memories);
  const peers = memories.filter(({ circuit }) => circuit.kind !== 'isolated');
  const typical = median(peers.map(typicalLog).filter((log) => log !== null));
  const reference = follow(before, typical, tick.variance, dtMs, knobs);
  const drift = tolerated(reference, knobs, slowerOctaves);
  const slow: boolean[] = [];
  const good: boolean[] = [];
  const judged = memories.map((memory, i) => {
    const normal = normalLog(memory, reference, tick.median);
    let evidence = memory.evidence * (1 - gain(dtMs, evidenceMs));
    let slowest = -Infinity;
    let quickest = Infinity;
    const signal = signals[i];
    if (normal !== null && signal !== undefined) {
      evidence = memory.evidence;
      for (const sample of answersOf(signal)) {
        const away = netLog(sample, memory.pathUs) - normal;
        slowest = Math.max(slowest, away);
        quickest = Math.min(quickest, away);
        evidence += sample.count * Math.min(most, away - drift);
      }
      if (slowest === -Infinity) evidence = memory.evidence * (1 - gain(dtMs, evidenceMs));
    }
    slow.push(slowest > drift);
    good.push(quickest <= drift);
    const calm = memory.circuit.kind === 'admitted' && evidence <= 0;
    return {
      ...memory,
      evidence: Math.max(0, evidence),
      // Its own normal is learned in good times only.
      ownLog: calm
        ? average(memory.ownLog, tick.means[i] ?? null, gain(dtMs, knobs.referenceMs))
        : memory.ownLog,
    };
  });
  return { reference, memories: judged, slow, good };
}
