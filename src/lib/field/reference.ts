// What is normal: a route's long-run latency and spread, and each backend's own.
// Latency is judged against these, never against an absolute figure.
import type { Knobs } from '../config/knobs.js';
import { average, clamp, exp2, gain, log2, median, must } from './arithmetic.js';
import { latencyBits } from './evidence.js';
import { typicalLog, type Heard } from './memory.js';
import type { Peers } from './peers.js';
import type { BackendMemory, Reference } from './types.js';

export const noReference: Reference = { log: null, spread: 0, ticks: 0 };

/** How much slower than its route a backend may always have been, in octaves. */
const nature = 2;
/** An answer that is later than normal by less is not slow, however quick is normal. */
const leastSlowUs = 10_000;
/** By how much more is tolerated of a backend when all are late. */
const strainWeight = 2;

/** The median of the backends' means in this tick; null of fewer than three. */
function tickMedian(heard: readonly Heard[]): number | null {
  const means: number[] = [];
  for (const { count, logSum } of heard) if (count > 0) means.push(logSum / count);
  return means.length < 3 ? null : median(means);
}

/** How far answers are from their own backend's typical one, squared; null without answers. */
function tickVariance(heard: readonly Heard[], memories: readonly BackendMemory[]): number | null {
  let answers = 0;
  let squares = 0;
  heard.forEach(({ samples, logs, count, logSum }, i) => {
    const memory = memories[i];
    if (count === 0 || memory === undefined) return;
    const typical = typicalLog(memory) ?? logSum / count;
    for (let k = 0; k < logs.length; k++) {
      const away = (logs[k] ?? typical) - typical;
      squares += (samples[k]?.count ?? 0) * away * away;
    }
    answers += count;
  });
  return answers === 0 ? null : squares / answers;
}

/**
 * Follows the route's typical backend: quickly at first, then over the reference time. Where
 * the owner of the service says what is normal, only the spread is learned.
 */
function follow(
  before: Reference,
  fixedLog: number | null,
  typical: number | null,
  variance: number | null,
  dtMs: number,
  knobs: Knobs,
): Reference {
  if (typical === null) return fixedLog === null ? before : { ...before, log: fixedLog };
  const alpha = Math.max(gain(dtMs, knobs.referenceMs), 1 / (before.ticks + 1));
  return {
    log: fixedLog ?? average(before.log, typical, alpha),
    spread: before.spread + alpha * ((variance ?? before.spread) - before.spread),
    ticks: Math.min(before.ticks + 1, 1_000_000),
  };
}

/** How far the answers of one backend are from each other, squared: of all backends, pooled. */
function pooledVariance(memories: readonly BackendMemory[]): number {
  let squares = 0;
  let all = 0;
  for (const { answers, logSum, logSquares, circuit } of memories) {
    if (answers < 1 || circuit.kind === 'isolated') continue;
    squares += Math.max(0, logSquares - (logSum * logSum) / answers);
    all += answers;
  }
  return all === 0 ? 0 : squares / all;
}

/**
 * The normal latency that this backend's answers are judged by: what its peers show in the
 * same window, or more where the route or the backend has always been slower. Null without
 * a peer: then nothing is out of the ordinary.
 */
function normalLog(
  memory: BackendMemory,
  reference: Reference,
  peers: number | null,
): number | null {
  if (reference.log === null || peers === null) return null;
  const own = clamp(memory.ownLog ?? reference.log, reference.log, reference.log + nature);
  return Math.max(own, peers);
}

export interface Latencies {
  readonly reference: Reference;
  /** Octaves above normal from which an answer speaks for isolation. */
  readonly tolerated: number;
  /** Variance of log2 latency within a backend. */
  readonly spread: number;
  /** What the tick made of each backend. */
  readonly backends: readonly LatencyVerdict[];
}

export interface LatencyVerdict {
  readonly evidence: number;
  /** Answers that were slow, over the time that is remembered. */
  readonly slow: number;
  readonly ownLog: number | null;
  /** Whether any of the tick's answers was slow, and whether any was not. */
  readonly late: boolean;
  readonly good: boolean;
  /** log2 of the microseconds that it was judged by; null when there was nothing to judge by. */
  readonly normal: number | null;
}

/**
 * Adds the tick's answers to the evidence against each backend. An answer is slow when it
 * took `slowerOctaves` more than normal; how much that says depends on how many of the
 * peers' answers are slow too. `fixedLog`: log2 of the microseconds that the owner of the
 * service calls normal.
 */
export function judgeLatency(
  before: Reference,
  fixedLog: number | null,
  heard: readonly Heard[],
  memories: readonly BackendMemory[],
  peers: readonly Peers[],
  slowerOctaves: number,
  dtMs: number,
  knobs: Knobs,
): Latencies {
  const known: number[] = [];
  for (const memory of memories) {
    const log = memory.circuit.kind === 'isolated' ? null : typicalLog(memory);
    if (log !== null) known.push(log);
  }
  const variance = tickVariance(heard, memories);
  const reference = follow(before, fixedLog, median(known), variance, dtMs, knobs);
  const now = tickMedian(heard);
  // Where all are late, late answers are load, and to leave a backend out would add to it.
  const strain = now === null || reference.log === null ? 0 : Math.max(0, now - reference.log);
  const spread = Math.max(reference.spread, pooledVariance(memories));
  const drift = slowerOctaves + strainWeight * strain;
  const slowly = gain(dtMs, knobs.referenceMs);
  const backends = memories.map((memory, i): LatencyVerdict => {
    const { samples, logs, count, logSum } = must(heard[i]);
    const others = must(peers[i]);
    const peersLog = others.typicalLog;
    const typical = peersLog === null || now === null ? peersLog : Math.max(peersLog, now);
    const normal = normalLog(memory, reference, typical);
    let late = 0;
    if (normal !== null) {
      // What a busy node adds to an answer is no fault of one backend.
      const slowFrom = Math.max(normal + drift, log2(exp2(normal) + leastSlowUs));
      samples.forEach((sample, k) => {
        if (must(logs[k]) > slowFrom) late += sample.count;
      });
    }
    const evidence = latencyBits(memory.evidence, late, count - late, others, dtMs, knobs);
    const slow = memory.slow + late;
    if (normal === null || count === 0) {
      return { evidence, slow, ownLog: memory.ownLog, late: false, good: false, normal };
    }
    // Its own normal is learned in good times only.
    const calm = memory.circuit.kind === 'admitted' && evidence === 0;
    const ownLog = calm ? average(memory.ownLog, logSum / count, slowly) : memory.ownLog;
    return { evidence, slow, ownLog, late: late > 0, good: late < count, normal };
  });
  return { reference, tolerated: drift, spread, backends };
}
