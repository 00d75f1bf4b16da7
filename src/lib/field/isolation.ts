// Isolation: what dominates takes a backend out at once, but for a drip. It
// returns by slow start when a probe went well; each relapse doubles the wait.
import type { Knobs } from '../config/knobs.js';
import { exp2, log2 } from './arithmetic.js';
import { failureRatio } from './pressure.js';
import { mostOctaves } from './reference.js';
import type { IsolationCause } from './states.js';
import type { BackendMemory, BackendSignals, Circuit } from './types.js';

/** What the tick says of a backend, beside its memory. */
export interface Verdict {
  readonly signals: BackendSignals;
  /** Normal latency in log2 of microseconds; null when nothing is known of it. */
  readonly normalLog: number | null;
  /** Of slow answers, in octaves, and how much of it isolates in this regime. */
  readonly evidence: number;
  readonly isolateEvidence: number;
  /** Octaves above normal from which an answer speaks for isolation. */
  readonly tolerated: number;
  /** An answer of this tick was slow; one was not. */
  readonly slow: boolean;
  readonly good: boolean;
}

/** A probe that shows neither good nor bad for this long is taken for good. */
const probePatienceMs = 1_000;
/** Failures that make a ratio. */
const fewest = 2.5;

/** The age at which an unanswered first request is silence. */
function silenceAgeMs(normalLog: number | null, knobs: Knobs): number {
  const normalMs = normalLog === null ? 0 : exp2(normalLog) / 1000;
  return Math.max(knobs.silenceMs, knobs.silenceFactor * normalMs);
}

/**
 * A hung backend still completes handshakes; what it does not do is answer. A first
 * request that waits is an answer at least that late, and adds to the evidence as one:
 * under heavy tails a single late answer is no silence, so it takes two.
 */
function isSilent(verdict: Verdict, knobs: Knobs): boolean {
  const { normalLog, evidence, isolateEvidence, tolerated } = verdict;
  const { waiting } = verdict.signals;
  // Where nobody has ever answered, silence is how the protocol goes.
  if (waiting === null || normalLog === null || waiting.count === 0) return false;
  if (waiting.answeredSince || waiting.ageMs < silenceAgeMs(normalLog, knobs)) return false;
  const octaves = log2(waiting.ageMs * 1000) - normalLog - tolerated;
  return evidence + waiting.count * Math.min(mostOctaves, octaves) >= isolateEvidence;
}

/** What isolates an admitted backend now; null if nothing does. */
function grounds(memory: BackendMemory, verdict: Verdict, knobs: Knobs): IsolationCause | null {
  if (verdict.signals.consecutiveFailures >= knobs.isolateAfter) return 'errors';
  if (memory.failures >= fewest && failureRatio(memory) >= knobs.isolateErrors) return 'errors';
  if (isSilent(verdict, knobs)) return 'silence';
  return verdict.evidence >= verdict.isolateEvidence ? 'latency' : null;
}

function isolate(cause: IsolationCause, cooldownMs: number): Circuit {
  return { kind: 'isolated', cause, cooldownMs, remainingMs: cooldownMs, probedForMs: null };
}

function longer(cooldownMs: number, knobs: Knobs): number {
  return Math.min(Math.max(knobs.isolationMs, knobs.isolationMaxMs), cooldownMs * 2);
}

type Isolated = Extract<Circuit, { kind: 'isolated' }>;

/** Waits, lets the kernel send one probe, and judges by it alone. */
function probe(circuit: Isolated, verdict: Verdict, dtMs: number, knobs: Knobs): Circuit {
  const { signals } = verdict;
  const remainingMs = Math.max(0, circuit.remainingMs - dtMs);
  if (remainingMs > 0) return { ...circuit, remainingMs };
  const heard = verdict.good || verdict.slow || signals.failures > 0;
  if (circuit.probedForMs === null && signals.picks === 0 && !heard) {
    return { ...circuit, remainingMs };
  }
  const probedForMs = (circuit.probedForMs ?? -dtMs) + dtMs;
  const relapse = isolate(circuit.cause, longer(circuit.cooldownMs, knobs));
  if (signals.failures > 0 || (verdict.slow && !verdict.good)) return relapse;
  const returns: Circuit = {
    kind: 'returning',
    forMs: 0,
    nextCooldownMs: longer(circuit.cooldownMs, knobs),
  };
  if (verdict.good) return returns;
  const measured = signals.firstByte !== null;
  if (!measured && signals.connects > 0) return returns;
  const unanswered = (signals.waiting?.count ?? 0) > 0;
  if (unanswered && probedForMs >= silenceAgeMs(verdict.normalLog, knobs)) return relapse;
  if (!unanswered && probedForMs >= probePatienceMs) return returns;
  return { ...circuit, remainingMs, probedForMs };
}

/** The circuit of one backend after this tick. */
export function judge(
  memory: BackendMemory,
  verdict: Verdict,
  dtMs: number,
  knobs: Knobs,
): Circuit {
  const { circuit } = memory;
  if (circuit.kind === 'isolated') return probe(circuit, verdict, dtMs, knobs);
  const cause = grounds(memory, verdict, knobs);
  if (cause !== null) return isolate(cause, circuit.nextCooldownMs);
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
