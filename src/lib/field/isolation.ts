// Isolation: what dominates takes a backend out at once, but for a drip. It
// returns by slow start when a probe went well; each relapse doubles the wait.
import type { Knobs } from '../config/knobs.js';
import { exp2 } from './arithmetic.js';
import type { Contradiction, EvidenceKind } from './evidence.js';
import type { IsolationCause } from './states.js';
import type { BackendMemory, BackendSignals, Circuit, DialOutcome } from './types.js';

/** What the tick says of a backend, beside its memory. */
export interface Verdict {
  readonly signals: BackendSignals;
  /** Bits of evidence that isolate in this regime. */
  readonly isolateBits: number;
  /** Bits that the requests which wait now add to those of its service. */
  readonly waitingBits: number;
  /** Another client speaks for it, or is yet to be heard. */
  readonly contradicted: Readonly<Record<EvidenceKind, Contradiction>>;
  /** What the agent's own connect met, where it can be believed. */
  readonly dial: DialOutcome | null;
  /** It was in the game although isolated, for most of the route was. */
  readonly inGame: boolean;
  /** No other client dials the route. */
  readonly aloneClient: boolean;
  /** The age from which an unanswered request is a silence. */
  readonly silenceAgeMs: number;
  /** A connect or a request of this tick went wrong as few of the peers' do. */
  readonly bad: boolean;
  /** An answer of this tick was slow; one was not. */
  readonly slow: boolean;
  readonly good: boolean;
}

/** A probe that shows neither good nor bad for this long is taken for good. */
const probePatienceMs = 1_000;
/** While the agent's own connects fail no client is sent; after so long one is all the same. */
const dialOnlyMs = 60_000;

/** The age at which an unanswered first request is silence: well beyond the peers' slowest answer. */
export function silenceAgeOf(slowestLog: number | null, knobs: Knobs): number {
  const slowestMs = slowestLog === null ? 0 : exp2(slowestLog) / 1000;
  return Math.max(knobs.silenceMs, knobs.silenceFactor * slowestMs);
}

/**
 * Whether the network's word against the backend stands: consecutive failures that the only
 * client saw, or that no other client contradicts. The agent's own connect is a witness too.
 */
function isUnreachable(
  { signals, dial, aloneClient, contradicted }: Verdict,
  knobs: Knobs,
): boolean {
  if (signals.consecutiveFailures < knobs.isolateAfter) return false;
  if (aloneClient) return true;
  if (dial === 'open' || contradicted.network === 'spoken') return false;
  return contradicted.network === 'none' || signals.accusers > 1 || dial === 'closed';
}

/** What isolates an admitted backend now; null if nothing does. */
function grounds(memory: BackendMemory, verdict: Verdict, knobs: Knobs): IsolationCause | null {
  const { contradicted, isolateBits, waitingBits } = verdict;
  if (isUnreachable(verdict, knobs)) return 'errors';
  if (memory.networkBits >= isolateBits && contradicted.network === 'none') return 'errors';
  if (contradicted.service !== 'none') return null;
  if (memory.serviceBits + waitingBits >= isolateBits) {
    return waitingBits > 0 || verdict.signals.dropped < verdict.signals.unserved
      ? 'silence'
      : 'errors';
  }
  return memory.evidence >= isolateBits ? 'latency' : null;
}

/** The first time until a probe: short where it costs no client a request. */
function firstCooldownMs(cause: IsolationCause, signals: BackendSignals, knobs: Knobs): number {
  const isFree = cause === 'latency' || signals.consecutiveFailures > 0;
  return isFree ? knobs.isolationMs : Math.max(knobs.isolationMs, knobs.sacrificeMs);
}

/** The longest, by the first: where a failed probe costs a request they stay rare. */
function longestCooldownMs(cooldownMs: number, knobs: Knobs): number {
  const most = Math.max(knobs.isolationMs, knobs.isolationMaxMs);
  return cooldownMs >= knobs.sacrificeMs ? Math.max(most, 2 * knobs.sacrificeMs) : most;
}

function isolate(cause: IsolationCause, cooldownMs: number): Isolated {
  return {
    kind: 'isolated',
    cause,
    cooldownMs,
    remainingMs: cooldownMs,
    probedForMs: null,
    isolatedForMs: 0,
    byOneClient: false,
    distrustsDial: false,
  };
}

function longer({ cooldownMs }: Isolated, knobs: Knobs): number {
  return Math.min(longestCooldownMs(cooldownMs, knobs), cooldownMs * 2);
}

type Isolated = Extract<Circuit, { kind: 'isolated' }>;

/**
 * Until a probe may come. What refuses connects is tried by the agent first: as long as
 * its own connect fails, a client's would too, and once it succeeds nobody need wait.
 */
function remainingOf(circuit: Isolated, dial: DialOutcome | null, dtMs: number): number {
  const remainingMs = Math.max(0, circuit.remainingMs - dtMs);
  if (circuit.cause !== 'errors' || circuit.probedForMs !== null) return remainingMs;
  if (circuit.distrustsDial) return remainingMs;
  if (dial === 'open') return 0;
  return dial === 'closed' && circuit.isolatedForMs < dialOnlyMs
    ? Math.max(remainingMs, circuit.cooldownMs - dtMs)
    : remainingMs;
}

function answers({ good, slow }: Verdict): boolean {
  return good || slow;
}

/** Waits, lets the kernel send one probe, and judges by it alone. */
function probe(before: Isolated, verdict: Verdict, dtMs: number, knobs: Knobs): Circuit {
  const { signals } = verdict;
  const isolatedForMs = before.isolatedForMs + dtMs;
  const remainingMs = remainingOf(before, verdict.dial, dtMs);
  const circuit = { ...before, remainingMs, isolatedForMs };
  if (before.cause === 'silence' && before.probedForMs === null && answers(verdict)) {
    // It answers what it was asked before: late, but not silent. A probe costs nobody an answer.
    const soonMs = Math.min(remainingMs, knobs.isolationMs);
    return { ...circuit, cause: 'latency', cooldownMs: knobs.isolationMs, remainingMs: soonMs };
  }
  if (remainingMs > 0) return circuit;
  const heard = verdict.good || verdict.slow || verdict.bad;
  if (circuit.probedForMs === null && signals.picks === 0 && !heard) return circuit;
  const probedForMs = (circuit.probedForMs ?? -dtMs) + dtMs;
  // A connect of the agent's went well and a client's did not: a policy stands between them.
  const distrustsDial = circuit.distrustsDial || verdict.dial === 'open';
  const again = isolate(circuit.cause, longer(circuit, knobs));
  const { byOneClient } = circuit;
  const relapse = { ...again, isolatedForMs, byOneClient, distrustsDial };
  if (verdict.bad || (verdict.slow && !verdict.good)) return relapse;
  const returns: Circuit = {
    kind: 'returning',
    forMs: 0,
    nextCooldownMs: longer(circuit, knobs),
  };
  if (verdict.good) return returns;
  const measured = signals.firstByte !== null;
  if (!measured && signals.connects > 0) return returns;
  const unanswered = (signals.waiting?.count ?? 0) > 0;
  if (unanswered && probedForMs >= verdict.silenceAgeMs) return relapse;
  if (!unanswered && probedForMs >= probePatienceMs) return returns;
  return { ...circuit, probedForMs };
}

/** Whether what isolated it is over, by the traffic that it was given all the same. */
function isWell({ cause }: Isolated, { signals, good, slow, bad }: Verdict): boolean {
  if (bad || slow) return false;
  // Where all are isolated nobody's latency is a measure: then any answer is a good one.
  return good || signals.served > 0 || (cause === 'errors' && signals.connects > 0);
}

/** The circuit of one backend after this tick. */
export function judge(
  memory: BackendMemory,
  verdict: Verdict,
  dtMs: number,
  knobs: Knobs,
): Circuit {
  const { circuit } = memory;
  if (circuit.kind === 'isolated') {
    // Another client has come, and is to see for itself.
    const mayBeAnothers = circuit.byOneClient && !verdict.aloneClient;
    return mayBeAnothers || (verdict.inGame && isWell(circuit, verdict))
      ? { kind: 'admitted', nextCooldownMs: knobs.isolationMs }
      : probe(circuit, verdict, dtMs, knobs);
  }
  const cause = grounds(memory, verdict, knobs);
  if (cause !== null) {
    const firstMs = firstCooldownMs(cause, verdict.signals, knobs);
    const againMs = Math.min(longestCooldownMs(firstMs, knobs), circuit.nextCooldownMs);
    return {
      ...isolate(cause, Math.max(firstMs, againMs)),
      byOneClient: verdict.aloneClient,
    };
  }
  // Good behaviour is credited at the pace of the clock, down to the first time.
  const nextCooldownMs = Math.max(knobs.isolationMs, circuit.nextCooldownMs - dtMs / 10);
  if (circuit.kind === 'admitted' && nextCooldownMs === circuit.nextCooldownMs) return circuit;
  if (circuit.kind === 'returning' && circuit.forMs + dtMs < knobs.slowStartMs) {
    return { kind: 'returning', forMs: circuit.forMs + dtMs, nextCooldownMs };
  }
  return { kind: 'admitted', nextCooldownMs };
}

/** The part of its share that a backend may be offered: slow start. */
export function offered(circuit: Circuit, knobs: Knobs): number {
  if (circuit.kind === 'isolated') return 0;
  if (circuit.kind === 'admitted' || knobs.slowStartMs === 0) return 1;
  return Math.max(0.01, circuit.forMs / knobs.slowStartMs);
}

/**
 * Isolating most of a route is a cascade: past half of it the cause is not the
 * backends (Envoy's panic threshold is the same half).
 */
export function isSystemic(isolated: number, backends: number): boolean {
  return backends > 0 && isolated * 2 > backends;
}

/**
 * Who is out of the game but for a drip. When it is systemic, who is slow or silent is
 * back in it, for work is still done there. Who fails does none, so to leave it out
 * burdens nobody: half of the route may stay out, by `order`.
 */
export function whoIsOut(
  circuits: readonly Circuit[],
  systemic: boolean,
  order: readonly number[],
): readonly boolean[] {
  if (!systemic) return circuits.map(({ kind }) => kind === 'isolated');
  const out = circuits.map(() => false);
  // All alike: then it is nothing that one of them is worse in.
  if (circuits.every(({ kind }) => kind === 'isolated')) return out;
  let room = Math.floor(circuits.length / 2);
  for (const i of order) {
    const circuit = circuits[i];
    if (room === 0) break;
    if (circuit?.kind !== 'isolated' || circuit.cause !== 'errors') continue;
    out[i] = true;
    room--;
  }
  return out;
}
