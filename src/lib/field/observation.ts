// What a tick makes of a route's backends before anything is decided: estimates,
// latency against what is normal, circuits, pressure.
import type { Knobs } from '../config/knobs.js';
import { log2, median, must } from './arithmetic.js';
import {
  bitsOfWait,
  heardByLanes,
  contradictionOf,
  networkBits,
  networkWord,
  serviceBits,
  serviceWord,
  waitingSinceAnswer,
} from './evidence.js';
import { isSystemic, judge, silenceAgeOf, whoIsOut, type Verdict } from './isolation.js';
import {
  fadingMs,
  forgetEvidence,
  freshMemory,
  hear,
  remember,
  typicalLog,
  type Heard,
} from './memory.js';
import { peersOf, shareOf, type Peers } from './peers.js';
import { lanesOfPeers, pressures, workingOf, type Observed } from './pressure.js';
import { judgeLatency } from './reference.js';
import type { Strictness } from './regime.js';
import type {
  BackendMemory,
  BackendSignals,
  LaneMemory,
  Pressure,
  Reference,
  RouteMemory,
  RouteSignals,
} from './types.js';

export interface Observation {
  readonly memories: readonly BackendMemory[];
  readonly pressures: readonly Pressure[];
  readonly reference: Reference;
  readonly isolated: number;
  readonly systemic: boolean;
  /** Who is out of the game but for a drip. */
  readonly out: readonly boolean[];
  /** By name: what decides between backends that are alike. */
  readonly order: readonly number[];
  /** What the other backends show, for each. */
  readonly peers: readonly Peers[];
  /** Half of those that are asked are overwhelmed: less would be answered sooner. */
  readonly congested: boolean;
  /** Requests stand in line, so that it matters which line is the shorter. */
  readonly contended: boolean;
  /** Whether the tick's answers were late by what is normal for the route; null without any. */
  readonly late: boolean | null;
}

/**
 * Names decide ties, so the order in which backends are listed cannot. As long as
 * the same are listed alike, the order of the last tick still holds.
 */
function orderByName({ backends }: RouteSignals, before: RouteMemory): readonly number[] {
  let at = 0;
  let same = backends.length === before.backends.size;
  before.backends.forEach((_, id) => {
    same &&= backends[at++]?.id === id;
  });
  if (same) return before.order;
  return backends
    .map((_, i) => i)
    .sort((a, b) => ((backends[a]?.id ?? '') < (backends[b]?.id ?? '') ? -1 : 1));
}

/** Backends whose unserved requests are fewer than this part tell by one of them. */
const rarelyUnserved = 0.25;

/** How long a route's answers must have been seen before a wait for one can be too long. */
const knownMs = 4_000;

interface Accusation {
  readonly memory: BackendMemory;
  readonly waitingBits: number;
  readonly contradicted: Verdict['contradicted'];
}

/** Adds the tick's outcomes to the evidence, and hears every client's word on it. */
function accuse(
  memory: BackendMemory,
  signals: BackendSignals,
  peers: Peers,
  late: { readonly evidence: number; readonly fromLog: number | null },
  isKnown: boolean,
  dtMs: number,
  knobs: Knobs,
): Accusation {
  const network = networkBits(memory, signals, peers, dtMs, knobs);
  const service = serviceBits(memory, signals, peers, dtMs, knobs);
  const waitBits = isKnown ? bitsOfWait(signals, peers, (log) => silenceAgeOf(log, knobs)) : 0;
  const waitedLong = waitBits > 0 ? waitingSinceAnswer(signals, memory) : 0;
  const accused =
    network > 0 ||
    service > 0 ||
    waitBits > 0 ||
    late.evidence > 0 ||
    signals.consecutiveFailures > 0;
  const accusedMs = accused ? memory.accusedMs + dtMs : 0;
  const lanes =
    memory.lanes.length === 0
      ? memory.lanes
      : heardByLanes(
          memory.lanes,
          signals.clients,
          (client) => ({
            network: networkWord(client),
            service: serviceWord(client, late.fromLog, waitBits > 0),
          }),
          accused,
        );
  const memoryMs = fadingMs(memory, knobs);
  return {
    memory: {
      ...memory,
      networkBits: network,
      serviceBits: service,
      accusedMs,
      waitBits,
      waitedLong,
      lanes,
    },
    waitingBits: waitBits * waitedLong,
    contradicted: {
      network: contradictionOf(lanes, 'network', accusedMs, memoryMs),
      service: contradictionOf(lanes, 'service', accusedMs, memoryMs),
    },
  };
}

/** One entry for each backend, in the order of the signals. */
export function observe(
  route: RouteSignals,
  before: RouteMemory,
  strict: Strictness,
  dtMs: number,
  knobs: Knobs,
): Observation {
  const { backends } = route;
  const fresh = freshMemory(knobs);
  const known = backends.map(({ id }) => before.backends.get(id) ?? fresh);
  const heard = backends.map((signals, i) => hear(must(known[i]), signals, dtMs, knobs));
  const remembered = backends.map((signals, i) =>
    remember(must(known[i]), signals, must(heard[i]), dtMs, knobs),
  );
  const slower = log2(knobs.isolateSlower);
  const fixedLog = route.latencyReferenceUs === null ? null : log2(route.latencyReferenceUs);
  const peers = peersOf(backends, remembered);
  const { reference } = before;
  const latency = judgeLatency(reference, fixedLog, heard, remembered, peers, slower, dtMs, knobs);
  const isKnown = reference.ticks * knobs.tickMs >= knownMs;
  const judged = backends.map((signals, i) => {
    const others = must(peers[i]);
    const { evidence, slow, ownLog, late: isSlow, good, normal } = must(latency.backends[i]);
    const late = { evidence, fromLog: normal === null ? null : normal + latency.tolerated };
    const { memory, waitingBits, contradicted } = accuse(
      must(remembered[i]),
      signals,
      others,
      late,
      isKnown,
      dtMs,
      knobs,
    );
    const made = { ...memory, evidence, slow, ownLog };
    const unservedSays = shareOf(others.unserved, others.served) < rarelyUnserved;
    const circuit = judge(
      made,
      {
        signals,
        // A connect that fails may fail for want of a way from the agent to any of them.
        dial: others.reached ? signals.dial : null,
        isolateBits: knobs.isolateEvidence * strict.evidence,
        waitingBits,
        contradicted,
        inGame: before.systemic,
        aloneClient: route.clients < 2,
        silenceAgeMs: silenceAgeOf(others.slowestLog, knobs),
        bad: signals.failures > 0 || (signals.unserved > 0 && unservedSays),
        slow: isSlow,
        good,
      },
      dtMs,
      knobs,
    );
    if (circuit === made.circuit) return made;
    // Slow start goes on with what it has seen; all other turns begin anew.
    const was = memory.circuit.kind;
    const turned = circuit.kind !== was && (circuit.kind !== 'admitted' || was === 'isolated');
    return turned ? { ...forgetEvidence(made), circuit } : { ...made, circuit };
  });
  const circuits = judged.map(({ circuit }) => circuit);
  const isolated = circuits.filter(({ kind }) => kind === 'isolated').length;
  const systemic = isSystemic(isolated, judged.length);
  // What befell most of them is no measure of any one of them afterwards.
  const memories = before.systemic && !systemic ? judged.map(forgetEvidence) : judged;
  const order = orderByName(route, before);
  const lanesOf = lanesOfPeers(memories);
  const contended = isContended(route, memories);
  const { spread } = latency;
  const observed = memories.map((memory, i): Observed => ({
    signals: must(backends[i]),
    memory,
    peers: must(peers[i]),
    contended,
    normalLog: latency.reference.log,
    spread,
    peerLanes: memory.lanes.length === 0 ? noLanes : lanesOf(memory),
  }));
  return {
    memories,
    peers,
    pressures: pressures(observed, route.slots, knobs),
    reference: latency.reference,
    isolated,
    systemic,
    out: whoIsOut(circuits, systemic, order),
    order,
    congested: isCongested(backends, heard, latency.reference, knobs),
    contended,
    late: isLate(heard, latency.reference),
  };
}

const noLanes: readonly LaneMemory[] = [];

/** As many requests under way for each backend are a queue, in which the shorter line matters. */
const contendedWorking = 1;
/** Answers so many octaves quicker than the peers' are no shorter line: errors are quick. */
const quickOctaves = 2;

/** Whether there is a line to choose from. One client alone cannot make it, nor quick errors. */
function isContended(
  { backends, clients }: RouteSignals,
  memories: readonly BackendMemory[],
): boolean {
  let working = 0;
  const typical: number[] = [];
  const ages: number[] = [];
  backends.forEach((signals, i) => {
    const memory = must(memories[i]);
    const { waiting } = signals;
    if (waiting !== null && waiting.count > 0 && waiting.ageMs > 0) {
      ages.push(log2(waiting.ageMs * 1000));
    }
    working += clients < 2 ? (memory.working ?? 0) : (workingOf(signals) ?? 0);
    const log = typicalLog(memory);
    if (log !== null && memory.answers >= fewAnswers) typical.push(log);
  });
  if (working < contendedWorking * backends.length) return false;
  const middle = median(typical);
  if (middle === null) return true;
  // What waits far longer than answers take stands in no line: it is late by design.
  const age = median(ages);
  if (age !== null && age - middle > parkedOctaves) return false;
  return typical.every((log) => middle - log < quickOctaves);
}

const fewAnswers = 3;
/** Requests that wait so many octaves longer than answers take are parked. */
const parkedOctaves = 3;

/** Whether the tick's answers were late, by the route's long-run normal; null without answers. */
function isLate(heard: readonly Heard[], { log }: Reference): boolean | null {
  let count = 0;
  let logSum = 0;
  for (const one of heard) {
    count += one.count;
    logSum += one.logSum;
  }
  return count === 0 || log === null ? null : logSum / count - log > congestedOctaves;
}

/** An answer, or a wait for one, so many octaves above the route's normal is a queue's doing. */
const congestedOctaves = 2;

/** It leaves requests unanswered, or answers all of them far later than normal. */
function isOverwhelmed(
  { connects, unserved, waiting }: BackendSignals,
  { count, logSum }: Heard,
  normal: number | null,
  knobs: Knobs,
): boolean {
  if (unserved >= 1 && unserved > connects * knobs.errorGate) return true;
  if (normal === null) return false;
  if (count > 0) return logSum / count - normal > congestedOctaves;
  const waits = waiting !== null && waiting.count >= 2 && waiting.ageMs > 0;
  return waits && log2(waiting.ageMs * 1000) - normal > congestedOctaves;
}

/**
 * Load is what overwhelms many at once. Refusals are none of it: to admit less makes a
 * backend that refuses refuse no less.
 */
function isCongested(
  backends: readonly BackendSignals[],
  heard: readonly Heard[],
  { log }: Reference,
  knobs: Knobs,
): boolean {
  let asked = 0;
  let overwhelmed = 0;
  backends.forEach((signals, i) => {
    const answers = must(heard[i]);
    const { connects, unserved, waiting } = signals;
    if (connects + unserved + answers.count + (waiting?.count ?? 0) === 0) return;
    asked++;
    if (isOverwhelmed(signals, answers, log, knobs)) overwhelmed++;
  });
  return asked > 0 && overwhelmed * 2 >= asked;
}
