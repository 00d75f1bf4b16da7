// What is remembered of a backend from tick to tick. Everything fades with wall
// time, so an old failure is forgotten without new connects.
import type { Knobs } from '../config/knobs.js';
import { average, exp2, faded, gain, log2, must } from './arithmetic.js';
import type {
  BackendMemory,
  BackendSignals,
  ClientSignals,
  LaneMemory,
  LatencySample,
} from './types.js';

const noLanes: readonly LaneMemory[] = [];

export function freshMemory(knobs: Knobs): BackendMemory {
  return {
    open: null,
    working: null,
    connects: 0,
    failures: 0,
    served: 0,
    unserved: 0,
    retransmits: 0,
    answers: 0,
    logSum: 0,
    logSquares: 0,
    slowestLog: null,
    ownLog: null,
    pathUs: null,
    pathReferenceUs: null,
    slow: 0,
    evidence: 0,
    networkBits: 0,
    serviceBits: 0,
    accusedMs: 0,
    waitBits: 0,
    waitedLong: 0,
    picksSinceAnswer: 0,
    lanes: noLanes,
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
  readonly logSquares: number;
  readonly slowestLog: number | null;
  /** The path's round trip that was taken off. */
  readonly pathUs: number | null;
}

/** A tick without an answer. */
const unheard: Heard = {
  samples: [],
  logs: [],
  count: 0,
  logSum: 0,
  logSquares: 0,
  slowestLog: null,
  pathUs: null,
};

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
  if (samples.length === 0) return pathUs === null ? unheard : { ...unheard, pathUs };
  const logs = samples.map(({ us }) => log2(Math.max(us - (pathUs ?? 0), us / 16)));
  let count = 0;
  let logSum = 0;
  let logSquares = 0;
  let slowestLog = -Infinity;
  samples.forEach((sample, i) => {
    const log = must(logs[i]);
    count += sample.count;
    logSum += sample.count * log;
    logSquares += sample.count * log * log;
    slowestLog = Math.max(slowestLog, log);
  });
  return { samples, logs, count, logSum, logSquares, slowestLog, pathUs };
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

/** A share of failures told by the application stands for requests that were not served. */
function unservedOf({ unserved, served, connects, app }: BackendSignals): number {
  return Math.max(unserved, (app?.errorRate ?? 0) * Math.max(served + unserved, connects));
}

/** Requests that were answered. Where the kernel sees no answers, those of which nothing bad is told. */
function servedOf(signals: BackendSignals): number {
  const { served, connects, failures, firstByte } = signals;
  if (firstByte !== null) return served;
  return Math.max(served, connects - failures - unservedOf(signals), 0);
}

/** Answers of the tick; where the kernel measures none, the application's word stands for one. */
function answersOf({ firstByte, app }: BackendSignals): readonly LatencySample[] {
  if (firstByte !== null) return firstByte;
  return app?.latencyP95Ms ? [{ us: app.latencyP95Ms * 1000, count: 1 }] : [];
}

/** A bound for what is only compared with the requests that wait. */
const mostPicks = 1e6;

/** Outcomes below which the memory of a backend fades slower, and by how much at most. */
const fewOutcomes = 20;
const slowestFading = 20;

/**
 * The time constant of a backend's counts. Where little happens it is longer: a backend is
 * judged by a number of outcomes, not by a number of seconds.
 */
export function fadingMs({ connects, answers }: BackendMemory, knobs: Knobs): number {
  const outcomes = Math.max(connects, answers);
  return knobs.latencyMs * Math.min(slowestFading, Math.max(1, fewOutcomes / (outcomes + 1)));
}

/** How fast the slowest answer is forgotten, in octaves a second. */
const forgetPerSecond = 1 / 30;

function slowestOf(
  before: number | null,
  { slowestLog, count, logSum }: Heard,
  dtMs: number,
): number | null {
  if (before === null) return slowestLog;
  const fading = Math.max(0, before - (forgetPerSecond * dtMs) / 1000);
  if (slowestLog !== null) return Math.max(slowestLog, fading);
  return count > 0 ? Math.max(logSum / count, fading) : fading;
}

const noWord = {
  connects: 0,
  failures: 0,
  answers: 0,
  logSum: 0,
  unserved: 0,
  waiting: 0,
  working: 0,
};

function laneAfter(
  before: LaneMemory | undefined,
  { lane, connects, failures, answers, logSum, unserved, working }: ClientSignals,
  kept: number,
  alpha: number,
): LaneMemory {
  const known = before ?? {
    lane,
    connects: 0,
    failures: 0,
    answers: 0,
    logSum: 0,
    unserved: 0,
    working: 0,
    networkGood: 0,
    networkBad: 0,
    serviceGood: 0,
    serviceBad: 0,
  };
  const all = faded(known.answers * kept + answers);
  return {
    ...known,
    connects: faded(known.connects * kept + connects),
    failures: faded(known.failures * kept + failures),
    answers: all,
    logSum: all === 0 ? 0 : known.logSum * kept + logSum,
    unserved: faded(known.unserved * kept + unserved),
    working: faded(known.working + alpha * (working - known.working)),
  };
}

function lanesOf(
  before: readonly LaneMemory[],
  clients: readonly ClientSignals[],
  kept: number,
  alpha: number,
): readonly LaneMemory[] {
  if (before.length === 0 && clients.length === 0) return before;
  // What is quiet fades, and is forgotten when nothing of it is left.
  const silent = before.filter(({ lane }) => !clients.some((client) => client.lane === lane));
  const fading = silent
    .map((lane) => laneAfter(lane, { ...noWord, lane: lane.lane }, kept, alpha))
    .filter(
      ({ connects, failures, answers, unserved, working }) =>
        connects + failures + answers + unserved + working > 0,
    );
  const speaking = clients.map((client) =>
    laneAfter(
      before.find(({ lane }) => lane === client.lane),
      client,
      kept,
      alpha,
    ),
  );
  return [...speaking, ...fading];
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
  const kept = 1 - gain(dtMs, fadingMs(before, knobs));
  const slowly = gain(dtMs, knobs.referenceMs);
  const open = average(before.open, signals.openMean, alpha);
  const working = average(before.working, signals.app?.queueDepth ?? signals.working, alpha);
  const answers = faded(before.answers * kept + heard.count);
  // Spelled out: a tick makes one of these for each backend, and a copy by spread is slow.
  return {
    open: open === null ? null : faded(open),
    working: working === null ? null : faded(working),
    connects: faded(before.connects * kept + signals.connects),
    failures: faded(before.failures * kept + signals.failures),
    served: faded(before.served * kept + servedOf(signals)),
    unserved: faded(before.unserved * kept + unservedOf(signals)),
    retransmits: faded(before.retransmits * kept + signals.retransmits),
    answers,
    logSum: answers === 0 ? 0 : before.logSum * kept + heard.logSum,
    logSquares: answers === 0 ? 0 : before.logSquares * kept + heard.logSquares,
    slowestLog: slowestOf(before.slowestLog, heard, dtMs),
    ownLog: before.ownLog,
    pathUs: heard.pathUs,
    pathReferenceUs: average(before.pathReferenceUs, signals.connectUs, slowly),
    slow: faded(before.slow * kept),
    evidence: before.evidence,
    networkBits: before.networkBits,
    serviceBits: before.serviceBits,
    accusedMs: before.accusedMs,
    waitBits: before.waitBits,
    waitedLong: before.waitedLong,
    picksSinceAnswer:
      heard.count + signals.served > 0
        ? signals.picks / 2
        : Math.min(mostPicks, before.picksSinceAnswer + signals.picks),
    lanes: lanesOf(before.lanes, signals.clients, kept, alpha),
    circuit: before.circuit,
    underway: before.underway,
  };
}

/** A new chapter: what was seen before an isolation says nothing of what is seen after it. */
export function forgetEvidence(memory: BackendMemory): BackendMemory {
  return {
    ...memory,
    open: null,
    working: null,
    connects: 0,
    failures: 0,
    served: 0,
    unserved: 0,
    answers: 0,
    logSum: 0,
    logSquares: 0,
    slow: 0,
    evidence: 0,
    networkBits: 0,
    serviceBits: 0,
    accusedMs: 0,
    waitBits: 0,
    waitedLong: 0,
    lanes: noLanes,
  };
}
