// Evidence: how much likelier a backend's outcomes are if it is at fault than if it is
// like its peers, in bits (a sequential probability ratio test, Wald 1945). What its
// peers show too is no evidence, and one client's word holds only as far as the
// other clients' does not contradict it.
import type { Knobs } from '../config/knobs.js';
import { exp2, faded, gain, log2 } from './arithmetic.js';
import type { Peers } from './peers.js';
import type { BackendMemory, BackendSignals, ClientSignals, LaneMemory } from './types.js';

/**
 * What one bad outcome can say at most: of the 26 bits that isolate (`isolateEvidence`) it
 * takes three. Two in a row may as well be the first two of a kind of request that takes
 * long by design.
 */
const mostBits = 9;
/** Time constant of evidence while there are no outcomes. */
const evidenceMs = 20_000;

/**
 * What one bad outcome says, by its share among the peers: `bad` of `all`. Where none of them
 * saw any, the share is not known to be small, only to be unseen (Laplace): what that
 * says counts twice, so that three do where 18 good outcomes of peers are remembered.
 */
export function bitsOf(bad: number, all: number, octavesBeyond: number): number {
  const unseenBits = log2(all + 2) + octavesBeyond;
  if (bad <= 0) return Math.min(mostBits, 2 * (unseenBits - 1));
  return Math.min(mostBits, log2(1 / Math.min(1, bad / all + 1 / exp2(unseenBits))));
}

/** What a good outcome takes away: up to `isolateErrors` of bad ones nothing adds up. */
function goodBits({ isolateErrors }: Knobs): number {
  return (mostBits * isolateErrors) / Math.max(0.01, 1 - isolateErrors);
}

function accumulate(
  before: number,
  bad: number,
  good: number,
  bits: number,
  dtMs: number,
  knobs: Knobs,
): number {
  const after = Math.max(0, before + bad * bits - good * goodBits(knobs));
  return bad + good > 0 ? after : faded(after * (1 - gain(dtMs, evidenceMs)));
}

/**
 * The bits of slow answers. Those of one tick count as three at most in two ticks: a pause of
 * the backend or of this node is a single event, however many answers wait for its end.
 */
export function latencyBits(
  before: number,
  slow: number,
  inTime: number,
  peers: Peers,
  dtMs: number,
  knobs: Knobs,
): number {
  const bits = Math.min(1.5 * mostBits, slow * bitsOf(peers.slow, peers.answers, 0));
  return accumulate(before, slow > 0 ? 1 : 0, inTime, bits, dtMs, knobs);
}

/** The bits of failed connects. */
export function networkBits(
  memory: BackendMemory,
  { connects, failures }: BackendSignals,
  peers: Peers,
  dtMs: number,
  knobs: Knobs,
): number {
  const bits = bitsOf(peers.failures, peers.connects, 0);
  return accumulate(memory.networkBits, failures, connects - failures, bits, dtMs, knobs);
}

/** Octaves beyond the peers' slowest answer that are believed to be rarer still. */
const tailOctaves = 3;

/**
 * What each first request that waits for an answer says: that it takes longer than any
 * answer of the peers did. Beyond the slowest, a tail as heavy as 1/t is assumed.
 * 0 as long as such a wait is nothing unheard of.
 */
export function bitsOfWait(
  { waiting }: BackendSignals,
  peers: Peers,
  leastMs: (slowestLog: number) => number,
): number {
  if (waiting === null || waiting.count === 0 || waiting.answeredSince) return 0;
  if (peers.slowestLog === null || waiting.ageMs < leastMs(peers.slowestLog)) return 0;
  const beyond = log2(waiting.ageMs * 1000) - peers.slowestLog;
  if (beyond <= 0) return 0;
  const bad = peers.unserved + peers.waiting;
  return bitsOf(bad, bad + peers.served, Math.min(tailOctaves, beyond));
}

/**
 * How many of the first requests that wait were sent since the backend last answered: of
 * those from before, others were answered that came with them.
 */
export function waitingSinceAnswer(
  { waiting }: BackendSignals,
  { picksSinceAnswer }: BackendMemory,
): number {
  return waiting === null ? 0 : Math.min(waiting.count, picksSinceAnswer);
}

/** The bits of first requests that ended without an answer. */
export function serviceBits(
  memory: BackendMemory,
  { served, unserved }: BackendSignals,
  peers: Peers,
  dtMs: number,
  knobs: Knobs,
): number {
  const bad = peers.unserved + peers.waiting;
  const bits = bitsOf(bad, bad + peers.served, 0);
  // Those that had waited for too long when they ended say what their wait said.
  const long = Math.min(unserved, memory.waitedLong);
  const before = memory.serviceBits + long * Math.max(0, memory.waitBits - bits);
  return accumulate(before, unserved, served, bits, dtMs, knobs);
}

export type EvidenceKind = 'network' | 'service';

/** What a lane's tick says for and against the backend. */
export interface LaneWord {
  readonly good: number;
  readonly bad: number;
}

export function networkWord({ connects, failures }: ClientSignals): LaneWord {
  return { good: connects - failures, bad: failures };
}

/** Answers that are late as a whole speak against it, as requests without an answer do. */
export function serviceWord(
  { answers, logSum, unserved, waiting }: ClientSignals,
  lateFromLog: number | null,
  waitsTooLong: boolean,
): LaneWord {
  const late = answers > 0 && lateFromLog !== null && logSum / answers > lateFromLog;
  return {
    good: late ? 0 : answers,
    bad: unserved + (late ? answers : 0) + (waitsTooLong ? waiting : 0),
  };
}

/** Starts the lanes' words anew when the accusation is new, and adds the tick's. */
export function heardByLanes(
  lanes: readonly LaneMemory[],
  clients: readonly ClientSignals[],
  words: (client: ClientSignals) => { readonly network: LaneWord; readonly service: LaneWord },
  accused: boolean,
): readonly LaneMemory[] {
  return lanes.map((lane) => {
    const client = clients.find((one) => one.lane === lane.lane);
    if (!accused || client === undefined) {
      const silent = lane.networkGood + lane.networkBad + lane.serviceGood + lane.serviceBad === 0;
      return silent || accused
        ? lane
        : { ...lane, networkGood: 0, networkBad: 0, serviceGood: 0, serviceBad: 0 };
    }
    const { network, service } = words(client);
    return {
      ...lane,
      networkGood: lane.networkGood + network.good,
      networkBad: lane.networkBad + network.bad,
      serviceGood: lane.serviceGood + service.good,
      serviceBad: lane.serviceBad + service.bad,
    };
  });
}

/** So many good outcomes of another client contradict, if few of its own are bad. */
const contradicts = 3;
const goodPerBad = 4;
/**
 * Another client that was not heard at all for as long as it takes for so many of its connects
 * has left.
 */
const expectedWords = 12;
const patienceMs = 10_000;
/** One of which nothing is remembered yet may have just come. */
const newcomerMs = 1_000;
/** One that speaks for the backend, if seldom, is waited for longer. */
const heardPatienceMs = 30_000;

/** What the clients other than the accuser say: against its word, nothing yet, or nothing at all. */
export type Contradiction = 'spoken' | 'awaited' | 'none';

/**
 * Whether another client than the one that saw most of the trouble speaks for the backend,
 * or is yet to be heard. `memoryMs`: the time over which the lanes' connects are remembered.
 */
export function contradictionOf(
  lanes: readonly LaneMemory[],
  kind: EvidenceKind,
  accusedMs: number,
  memoryMs: number,
): Contradiction {
  if (lanes.length < 2) return 'none';
  const words = lanes.map(({ networkGood, networkBad, serviceGood, serviceBad, connects }) => ({
    good: kind === 'network' ? networkGood : serviceGood,
    bad: kind === 'network' ? networkBad : serviceBad,
    perMs: connects / memoryMs,
  }));
  const accuser = words.reduce((most, word) => (word.bad > most.bad ? word : most));
  // A failure may be known before its connect has ended: then nobody is the accuser yet.
  const others = words.filter((word) => word !== accuser || accuser.bad === 0);
  if (others.some(({ good, bad }) => good >= contradicts && good >= goodPerBad * bad)) {
    return 'spoken';
  }
  if (others.some(({ bad }) => bad >= 1)) return 'none';
  const perMs = others.reduce((sum, other) => sum + other.perMs, 0);
  // One that dials so seldom is not waited for, unless it is new.
  if (perMs * 2 * patienceMs < 1) return accusedMs < newcomerMs ? 'awaited' : 'none';
  const waitsMs = others.some(({ good }) => good > 0)
    ? heardPatienceMs
    : Math.min(expectedWords / perMs, patienceMs);
  return accusedMs < waitsMs ? 'awaited' : 'none';
}
