// What is remembered of a backend from tick to tick. Everything fades with wall
// time, so an old failure is forgotten without new connects.
import type { Knobs } from '../config/knobs.js';
import { average, exp2, faded, gain, log2 } from './arithmetic.js';
import type { BackendMemory, BackendSignals, Circuit, LatencySample } from './types.js';

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
    underway: false,
  };
}

/** The answers of one tick in log2 of microseconds, net of the path. */
export interface Heard {
  readonly samples: readonly LatencySample[];
  /** Of each sample. */
  readonly logs: readonly number[];
  readonly count: number;
  readonly logSum: number;
  /** The path's round trip that was taken off. */
  readonly pathUs: number | null;
}

/** A tick without an answer. */
export const unheard: Heard = { samples: [], logs: [], count: 0, logSum: 0, pathUs: null };

/**
 * Takes the path's round trip off each answer, for it is no fault of the
 * backend: a far zone is not a slow one. At least a sixteenth is its own.
 */
export function hear(
  before: BackendMemory,
  signals: BackendSignals,
  dtMs: number,
  knobs: Knobs,
): Heard {
  const pathUs = average(before.pathUs, signals.connectUs, gain(dtMs, knobs.latencyMs));
  const samples = answersOf(signals);
  const { samples: none, logs: noLogs } = unheard;
  if (samples.length === 0) return { samples: none, logs: noLogs, count: 0, logSum: 0, pathUs };
  const logs = samples.map(({ us }) => log2(Math.max(us - (pathUs ?? 0), us / 16)));
  let heard = 0;
  let logSum = 0;
  for (let i = 0; i < samples.length; i++) {
    const count = samples[i]?.count ?? 0;
    heard += count;
    logSum += count * (logs[i] ?? 0);
  }
  return { samples, logs, count: heard, logSum, pathUs };
}

/** Typical latency in log2 of microseconds; null without evidence. */
export function typicalLog({ answers, logSum }: BackendMemory): number | null {
  // Less than a tenth of a sample is a memory of one, not a figure.
  return answers < 0.1 ? null : logSum / answers;
}

/** The same in microseconds, for people. */
export function typicalUs(memory: BackendMemory): number | null {
  const log = typicalLog(memory);
  return log === null ? null : exp2(log);
}

/** A share of failures told by the application outranks what the kernel can see of them. */
function failuresOf({ failures, connects, app }: BackendSignals): number {
  return Math.max(failures, (app?.errorRate ?? 0) * connects);
}

/** Answers of the tick; where the kernel measures none, the application's word stands for one. */
function answersOf({ firstByte, app }: BackendSignals): readonly LatencySample[] {
  if (firstByte !== null) return firstByte;
  return app?.latencyP95Ms ? [{ us: app.latencyP95Ms * 1000, count: 1 }] : [];
}

/** What counts alone make of a memory; latency is judged against the peers, elsewhere. */
export function remember(
  before: BackendMemory,
  signals: BackendSignals,
  heard: Heard,
  dtMs: number,
  knobs: Knobs,
): BackendMemory {
  const alpha = gain(dtMs, knobs.latencyMs);
  const kept = 1 - alpha;
  const slowly = gain(dtMs, knobs.referenceMs);
  const open = average(before.open, signals.app?.queueDepth ?? signals.openMean, alpha);
  const answers = faded(before.answers * kept + heard.count);
  // Spelled out: a tick makes one of these for each backend, and a copy by spread is slow.
  return {
    open: open === null ? null : faded(open),
    connects: faded(before.connects * kept + signals.connects),
    failures: faded(before.failures * kept + failuresOf(signals)),
    retransmits: faded(before.retransmits * kept + signals.retransmits),
    answers,
    logSum: answers === 0 ? 0 : before.logSum * kept + heard.logSum,
    ownLog: before.ownLog,
    pathUs: heard.pathUs,
    pathReferenceUs: average(before.pathReferenceUs, signals.connectUs, slowly),
    evidence: before.evidence,
    circuit: before.circuit,
    underway: before.underway,
  };
}

/** The memory with what the judgement made of it. */
export function judged(
  memory: BackendMemory,
  evidence: number,
  ownLog: number | null,
  circuit: Circuit,
): BackendMemory {
  return {
    open: memory.open,
    connects: memory.connects,
    failures: memory.failures,
    retransmits: memory.retransmits,
    answers: memory.answers,
    logSum: memory.logSum,
    ownLog,
    pathUs: memory.pathUs,
    pathReferenceUs: memory.pathReferenceUs,
    evidence,
    circuit,
    underway: memory.underway,
  };
}

/** A new chapter: what was seen before an isolation says nothing of what is seen after it. */
export function forgetEvidence(memory: BackendMemory): BackendMemory {
  return { ...memory, connects: 0, failures: 0, answers: 0, logSum: 0, evidence: 0, open: null };
}
