// Pressure: P = (W_Q Q* + W_L L* + W_P p* + W_N N*) (1 + W_E E*) + gate, in layers:
// the backend itself, the path to it, its node. Each term is relative to what is
// normal, so a backend like its peers has the pressure W_Q + W_L + W_P.
import type { Knobs } from '../config/knobs.js';
import { clamp, exp2, log2 } from './arithmetic.js';
import { typicalLog } from './memory.js';
import { shareOf, type Peers } from './peers.js';
import type { Stalls } from './signals.js';
import type { BackendMemory, BackendSignals, LaneMemory, Pressure } from './types.js';

export interface Observed {
  readonly signals: BackendSignals;
  readonly memory: BackendMemory;
  readonly peers: Peers;
  /** Requests stand in line: then the quickest quarter of the peers has room, and is the measure. */
  readonly contended: boolean;
  /** What is normal for the route in the long run, in log2 of microseconds. */
  readonly normalLog: number | null;
  /** Variance of log2 latency within a backend of the route. */
  readonly spread: number;
  /** What the clients of each lane see of its peers; empty where there is one client. */
  readonly peerLanes: readonly LaneMemory[];
}

/** Standard deviations of a difference that are taken for chance. */
const chanceSigmas = 2;
/** The same of a share of failures, which the gate makes a heavy matter. */
const errorSigmas = 3;
/** A path twice as long as it was is as bad as a path can be: distance is no fault. */
const pathMost = 2;
/** Of several backends that are alike the quickest differs by chance, until each has answered so often. */
const quickAnswers = 200;
/** Fewer outcomes of a lane say nothing of its own. */
const fewest = 3;
/** A bucket of the kernel's histogram is a quarter of an octave wide: it can shift a mean by that. */
const bucketOctaves = 0.25;

/** Few samples are noise: believe them by n/(n+k), and the peers for the rest. */
function shrunk(value: number, neutral: number, samples: number, k: number): number {
  return samples <= 0 ? neutral : neutral + ((value - neutral) * samples) / (samples + k);
}

/**
 * What measurement cannot tell from noise is no difference: it would only move the
 * rounding of slots from one backend like its peers to another. d − n²/d is 0 at the
 * noise, without a step, and soon the deviation itself.
 */
function beyondNoise(deviation: number, noise: number): number {
  return deviation <= noise ? 0 : deviation - (noise * noise) / deviation;
}

/** Requests under way of all lanes but the busiest: one client alone cannot make a queue. */
export function workingOf({ working, clients }: BackendSignals): number | null {
  if (working === null || clients.length < 2) return working;
  let most = 0;
  for (const client of clients) most = Math.max(most, client.working);
  return Math.max(0, working - most);
}

/**
 * Of the requests under way, those by which one client alone has more here than at the peers:
 * it may hold as many as it likes, and makes no queue of them.
 */
function oneClients(
  { lanes }: BackendMemory,
  { backends }: Peers,
  peerLanes: readonly LaneMemory[],
): number {
  let most = 0;
  for (const { lane, working } of lanes) {
    const others = peerLanes.find((one) => one.lane === lane)?.working ?? 0;
    most = Math.max(most, working - others / Math.max(1, backends));
  }
  return most;
}

/** A queue well beyond the peers' by more than chance: requests that are under way, per slot. */
function queueTerm(
  { signals, memory, peers, peerLanes }: Observed,
  fair: number,
  knobs: Knobs,
): number | null {
  if (memory.working === null || peers.working === null || signals.slots === 0) return null;
  const working = memory.working - oneClients(memory, peers, peerLanes);
  const expected = (peers.working * signals.slots) / fair;
  // Counts of a Poisson process scatter by their root; next to none there is nothing to compare.
  const noise = chanceSigmas * Math.sqrt(expected + 1) + 1;
  const ratio = 1 + beyondNoise(working - expected, noise) / Math.max(1, expected);
  return Math.max(
    1,
    shrunk(ratio, 1, memory.connects + memory.answers + working, knobs.shrinkage) / knobs.queueGate,
  );
}

/** Octaves by which answers are later than the peers', beyond chance; 0 for quicker ones. */
function lateOctaves(
  own: { readonly answers: number; readonly logSum: number },
  others: { readonly answers: number; readonly typicalLog: number },
  spread: number,
  knobs: Knobs,
): number {
  const away = own.logSum / own.answers - others.typicalLog;
  const chance =
    chanceSigmas * Math.sqrt(spread * (1 / own.answers + 1 / Math.max(1, others.answers)));
  // Within one bucket nothing averages out.
  const grain = spread < bucketOctaves * bucketOctaves ? bucketOctaves : 0;
  const noise = Math.max(chance, grain, log2(1 + knobs.noise));
  return shrunk(beyondNoise(away, noise), 0, own.answers, knobs.shrinkage);
}

/**
 * How much later than its peers a backend answers. Quick is not better: below the peers'
 * normal, latency earns nothing. Where several clients see the backend, the one to which it
 * is the least late decides: what only one of them sees is its own affair.
 */
function latencyTerm(
  { memory, peers, contended, normalLog, spread, peerLanes }: Observed,
  knobs: Knobs,
): number | null {
  if (typicalLog(memory) === null || peers.typicalLog === null || peers.quickLog === null)
    return null;
  const { answers } = peers;
  const isQuickKnown = contended && answers >= quickAnswers * peers.backends;
  // Late is what is later than the peers are now, and than is normal for the route.
  const normal = isQuickKnown
    ? peers.quickLog
    : Math.max(peers.typicalLog, normalLog ?? peers.typicalLog);
  let octaves = lateOctaves(memory, { answers, typicalLog: normal }, spread, knobs);
  for (const lane of memory.lanes) {
    const others = peerLanes.find((one) => one.lane === lane.lane);
    if (octaves === 0 || lane.answers < fewest || others === undefined) continue;
    if (others.answers < fewest) continue;
    const seen = { answers: others.answers, typicalLog: others.logSum / others.answers };
    octaves = Math.min(octaves, lateOctaves(lane, seen, spread, knobs));
  }
  return exp2(octaves);
}

function pathTerm({ memory }: Observed, knobs: Knobs): number | null {
  const { pathUs, pathReferenceUs, connects, retransmits } = memory;
  if (pathUs === null || pathReferenceUs === null || pathReferenceUs <= 0) return null;
  const longer = 1 + beyondNoise(pathUs / pathReferenceUs - 1, knobs.noise);
  const ratio = Math.max(1, shrunk(longer, 1, connects, knobs.shrinkage));
  return Math.min(pathMost, ratio + retransmits / (connects + knobs.shrinkage + 1));
}

/** The worst share of time that a local backend's cgroup stalled; null for a remote one. */
function nodeTerm(stalls: Stalls | null): number | null {
  if (stalls === null) return null;
  const shares = [
    ...(stalls.cpu.kind === 'read' ? [stalls.cpu.value.some] : []),
    ...(stalls.memory.kind === 'read' ? [stalls.memory.value.full] : []),
    ...(stalls.io.kind === 'read' ? [stalls.io.value.full] : []),
  ];
  return shares.length === 0 ? null : Math.max(...shares);
}

interface Outcomes {
  readonly bad: number;
  readonly all: number;
}

/** By how much a share of bad outcomes exceeds the peers', beyond chance. */
function excess(own: Outcomes, peers: Outcomes): number {
  if (own.all < 0.1) return 0;
  const usual = clamp(shareOf(peers.bad, peers.all - peers.bad), 0, 1);
  const before = peers.all < 1 ? 0 : peers.bad / peers.all;
  const spread = usual * (1 - usual) * (1 / Math.max(1, own.all) + 1 / Math.max(1, peers.all));
  const chance = errorSigmas * Math.sqrt(spread);
  return clamp(own.bad / own.all - before - chance, 0, 1);
}

/** Its failures beyond its peers': of connects, or of requests, whichever is more. */
function failuresBeyond({ memory, peers, peerLanes }: Observed): number {
  const network = (of: { readonly connects: number; readonly failures: number }): Outcomes => ({
    bad: of.failures,
    all: of.connects,
  });
  const served = ({
    served: good,
    unserved: bad,
  }: Pick<Peers, 'served' | 'unserved'>): Outcomes => ({
    bad,
    all: good + bad,
  });
  const answered = ({ answers: good, unserved: bad }: LaneMemory): Outcomes => ({
    bad,
    all: good + bad,
  });
  let connects = excess(network(memory), network(peers));
  let requests = excess(served(memory), served(peers));
  for (const lane of memory.lanes) {
    const others = peerLanes.find((one) => one.lane === lane.lane);
    if (others === undefined) continue;
    if (lane.connects >= fewest) {
      connects = Math.min(connects, excess(network(lane), network(others)));
    }
    if (lane.answers + lane.unserved >= fewest) {
      requests = Math.min(requests, excess(answered(lane), answered(others)));
    }
  }
  return Math.max(connects, requests);
}

export function failureRatio({ failures, connects, served, unserved }: BackendMemory): number {
  const network = connects > 0 ? clamp(failures / connects, 0, 1) : 0;
  const requests = served + unserved > 0 ? clamp(unserved / (served + unserved), 0, 1) : 0;
  return Math.max(network, requests);
}

function errorTerm({ memory }: Observed, beyond: number, knobs: Knobs): number | null {
  const outcomes = Math.max(memory.connects, memory.served + memory.unserved);
  if (outcomes < 0.1) return null;
  const ratio = shrunk(beyond, 0, outcomes, knobs.shrinkage / 4);
  return Math.min(knobs.errorMax, ratio / knobs.errorReference);
}

/** One failure is an accident; two in the time that is remembered are a ratio. */
function gateOf({ memory }: Observed, beyond: number, knobs: Knobs): number {
  return beyond > knobs.errorGate && memory.failures + memory.unserved >= 1.5
    ? knobs.errorGatePressure
    : 0;
}

/** What a backend like its peers has. */
export function normalPressure(knobs: Knobs): number {
  return knobs.weightQueue + knobs.weightLatency + knobs.weightPath;
}

/** The lanes of all admitted backends but one, added up. */
export function lanesOfPeers(
  memories: readonly BackendMemory[],
): (own: BackendMemory) => readonly LaneMemory[] {
  if (memories.every(({ lanes }) => lanes.length === 0)) return () => [];
  const totals = new Map<number, LaneMemory>();
  const add = (sign: 1 | -1, into: LaneMemory | undefined, lane: LaneMemory): LaneMemory => ({
    ...lane,
    connects: (into?.connects ?? 0) + sign * lane.connects,
    failures: (into?.failures ?? 0) + sign * lane.failures,
    answers: (into?.answers ?? 0) + sign * lane.answers,
    logSum: (into?.logSum ?? 0) + sign * lane.logSum,
    unserved: (into?.unserved ?? 0) + sign * lane.unserved,
    working: (into?.working ?? 0) + sign * lane.working,
  });
  for (const { circuit, lanes } of memories) {
    if (circuit.kind === 'isolated') continue;
    for (const lane of lanes) totals.set(lane.lane, add(1, totals.get(lane.lane), lane));
  }
  return ({ circuit, lanes }) =>
    [...totals.values()].map((total) => {
      const own = lanes.find(({ lane }) => lane === total.lane);
      return own === undefined || circuit.kind === 'isolated' ? total : add(-1, total, own);
    });
}

/**
 * The pressure of every backend of a route, in the given order. A term whose
 * signal is missing is neutral: it says nothing for or against.
 */
export function pressures(observed: readonly Observed[], total: number, knobs: Knobs): Pressure[] {
  const fair = total / Math.max(1, observed.length);
  return observed.map((one): Pressure => {
    const queue = queueTerm(one, fair, knobs);
    const latency = latencyTerm(one, knobs);
    const path = pathTerm(one, knobs);
    const node = nodeTerm(one.signals.stalls);
    const beyond = failuresBeyond(one);
    const errors = errorTerm(one, beyond, knobs);
    const gate = gateOf(one, beyond, knobs);
    const load =
      knobs.weightQueue * (queue ?? 1) +
      knobs.weightLatency * (latency ?? 1) +
      knobs.weightPath * (path ?? 1) +
      knobs.weightNode * (node ?? 0);
    return {
      queue,
      latency,
      path,
      node,
      errors,
      gate,
      total: load * (1 + knobs.weightErrors * (errors ?? 0)) + gate,
    };
  });
}
