// Isolation: what dominates takes a backend out at once, but for a drip. It
// returns by slow start when a probe went well; each relapse doubles the wait.
import type { Knobs } from '../config/knobs.js';
import { exp2 } from './arithmetic.js';
import type { EvidenceKind } from './evidence.js';
import type { IsolationCause } from './states.js';
import type { BackendMemory, BackendSignals, Circuit } from './types.js';

/** What the tick says of a backend, beside its memory. */
export interface Verdict {
  readonly signals: BackendSignals;
  /** Evidence that isolates in this regime: of slow answers in octaves, of the rest in bits. */
  readonly isolateOctaves: number;
  readonly isolateBits: number;
  /** Bits that the requests which wait now add to those of its service. */
  readonly waitingBits: number;
  /** Another client speaks for it, or is yet to be heard. */
  readonly contradicted: Readonly<Record<EvidenceKind, boolean>>;
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

/** The age at which an unanswered first request is silence. */
export function silenceAgeOf(typicalLog: number | null, knobs: Knobs): number {
  const typicalMs = typicalLog === null ? 0 : exp2(typicalLog) / 1000;
  return Math.max(knobs.silenceMs, knobs.silenceFactor * typicalMs);
}

/**
 * Whether the network's word against the backend stands: consecutive failures that several
 * clients saw, or that the only client saw, or that the agent's own connect met too.
 */
function isUnreachable({ signals, aloneClient, contradicted }: Verdict, knobs: Knobs): boolean {
  const { consecutiveFailures, accusers, dial } = signals;
  if (consecutiveFailures < knobs.isolateAfter) return false;
  if (aloneClient || dial === 'closed') return true;
  return dial === null && (accusers > 1 || !contradicted.network);
}

/** What isolates an admitted backend now; null if nothing does. */
function grounds(memory: BackendMemory, verdict: Verdict, knobs: Knobs): IsolationCause | null {
  const { contradicted, isolateBits, isolateOctaves, waitingBits } = verdict;
  if (isUnreachable(verdict, knobs)) return 'errors';
  if (memory.networkBits >= isolateBits && !contradicted.network) return 'errors';
  if (contradicted.service) return null;
  if (memory.serviceBits + waitingBits >= isolateBits) {
    return waitingBits > 0 || verdict.signals.dropped < verdict.signals.unserved
      ? 'silence'
      : 'errors';
  }
  return memory.evidence >= isolateOctaves ? 'latency' : null;
}

/** The first time until a probe: short where it costs no client a request. */
function firstCooldownMs(cause: IsolationCause, signals: BackendSignals, knobs: Knobs): number {
  const isFree = cause === 'latency' || signals.dial !== null || signals.consecutiveFailures > 0;
  return isFree ? knobs.isolationMs : Math.max(knobs.isolationMs, knobs.sacrificeMs);
}

function longestCooldownMs(cause: IsolationCause, knobs: Knobs): number {
  const most = Math.max(knobs.isolationMs, knobs.isolationMaxMs);
  return cause === 'silence' ? Math.max(most, 2 * knobs.sacrificeMs) : most;
}

function isolate(cause: IsolationCause, cooldownMs: number): Isolated {
  return {
    kind: 'isolated',
    cause,
    cooldownMs,
    remainingMs: cooldownMs,
    probedForMs: null,
    isolatedForMs: 0,
    distrustsDial: false,
  };
}

function longer({ cause, cooldownMs }: Isolated, knobs: Knobs): number {
  return Math.min(longestCooldownMs(cause, knobs), cooldownMs * 2);
}

type Isolated = Extract<Circuit, { kind: 'isolated' }>;

/**
 * Until a probe may come. What refuses connects is tried by the agent first: as long as
 * its own connect fails, a client's would too, and once it succeeds nobody need wait.
 */
function remainingOf(circuit: Isolated, { dial }: BackendSignals, dtMs: number): number {
  const remainingMs = Math.max(0, circuit.remainingMs - dtMs);
  if (circuit.cause !== 'errors' || circuit.probedForMs !== null) return remainingMs;
  if (circuit.distrustsDial) return remainingMs;
  if (dial === 'open') return 0;
  return dial === 'closed' && circuit.isolatedForMs < dialOnlyMs
    ? Math.max(remainingMs, circuit.cooldownMs - dtMs)
    : remainingMs;
}

/** Waits, lets the kernel send one probe, and judges by it alone. */
function probe(before: Isolated, verdict: Verdict, dtMs: number, knobs: Knobs): Circuit {
  const { signals } = verdict;
  const isolatedForMs = before.isolatedForMs + dtMs;
  const remainingMs = remainingOf(before, signals, dtMs);
  const circuit = { ...before, remainingMs, isolatedForMs };
  if (remainingMs > 0) return circuit;
  const heard = verdict.good || verdict.slow || verdict.bad;
  if (circuit.probedForMs === null && signals.picks === 0 && !heard) return circuit;
  const probedForMs = (circuit.probedForMs ?? -dtMs) + dtMs;
  // A connect of the agent's went well and a client's did not: a policy stands between them.
  const distrustsDial = circuit.distrustsDial || signals.dial === 'open';
  const again = isolate(circuit.cause, longer(circuit, knobs));
  const relapse = { ...again, isolatedForMs, distrustsDial };
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
    return verdict.inGame && isWell(circuit, verdict)
      ? { kind: 'admitted', nextCooldownMs: knobs.isolationMs }
      : probe(circuit, verdict, dtMs, knobs);
  }
  const cause = grounds(memory, verdict, knobs);
  if (cause !== null) {
    const first = firstCooldownMs(cause, verdict.signals, knobs);
    return isolate(
      cause,
      Math.min(longestCooldownMs(cause, knobs), Math.max(first, circuit.nextCooldownMs)),
    );
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
