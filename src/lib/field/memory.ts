// What is remembered of a backend from tick to tick. Everything fades with wall
// time, so an old failure is forgotten without new connects.
import type { Knobs } from '../config/knobs.js';
import { average, exp2, gain, log2 } from './arithmetic.js';
import type { BackendMemory, BackendSignals, LatencySample } from './types.js';

export function freshMemory(knobs: Knobs): BackendMemory {
  return {
    open: null,
    connects: 0,
    failures: 0,
    retransmits: 0,
    answers: 0,
    logSum: 0,
    ownLog: null,
    pathUs: null,
    pathReferenceUs: null,
    evidence: 0,
    circuit: { kind: 'admitted', nextCooldownMs: knobs.isolationMs },
  };
}

/**
 * log2 of an answer's time without the path's round trip, which is no fault of
 * the backend: a far zone is not a slow one. At least a sixteenth is its own.
 */
export function netLog({ us }: LatencySample, pathUs: number | null): number {
  return log2(Math.max(us - (pathUs ?? 0), us / 16));
}

/** Typical latency in log2 of microseconds; null without evidence. */
export function typicalLog({ answers, logSum }: BackendMemory): number | null {
  // Less than a tenth of a sample is a memory of one, not a figure.
  return answers < 0.1 ? null : logSum / answers;
}

export function typicalUs(memory: BackendMemory): number | null {
  const log = typicalLog(memory);
  return log === null ? null : exp2(log);
}

/** A share of failures told by the application outranks what the kernel can see of them. */
function failuresOf({ failures, connects, app }: BackendSignals): number {
  return Math.max(failures, (app?.errorRate ?? 0) * connects);
}

/** Answers of the tick; where the kernel measures none, the application's word stands for one. */
export function answersOf({ firstByte, app }: BackendSignals): readonly LatencySample[] {
  if (firstByte !== null) return firstByte;
  return app?.latencyP95Ms ? [{ us: app.latencyP95Ms * 1000, count: 1 }] : [];
}

export function remember(
  before: BackendMemory,
  signals: BackendSignals,
  dtMs: number,
  knobs: Knobs,
): BackendMemory {
  const alpha = gain(dtMs, knobs.latencyMs);
  const kept = 1 - alpha;
  const pathUs = average(before.pathUs, signals.connectUs, alpha);
  let answers = before.answers * kept;
  let logSum = before.logSum * kept;
  for (const sample of answersOf(signals)) {
    answers += sample.count;
    logSum += sample.count * netLog(sample, pathUs);
  }
  return {
    ...before,
    open: average(before.open, signals.app?.queueDepth ?? signals.openMean, alpha),
    connects: before.connects * kept + signals.connects,
    failures: before.failures * kept + failuresOf(signals),
    retransmits: before.retransmits * kept + signals.retransmits,
    answers,
    logSum,
    pathUs,
    pathReferenceUs: average(
      before.pathReferenceUs,
      signals.connectUs,
      gain(dtMs, knobs.referenceMs),
    ),
  };
}

/** A new chapter: what was seen before an isolation says nothing of what is seen after it. */
export function forgetEvidence(memory: BackendMemory): BackendMemory {
  return { ...memory, connects: 0, failures: 0, answers: 0, logSum: 0, evidence: 0, open: null };
}
