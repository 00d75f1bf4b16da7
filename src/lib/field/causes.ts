// Names the cause of each change of slots, from the figures that made it.
import type { Knobs } from '../config/knobs.js';
import { exp2, must } from './arithmetic.js';
import { typicalLog } from './memory.js';
import type { Moved } from './motion.js';
import type { Observation } from './observation.js';
import type { Peers } from './peers.js';
import { failureRatio } from './pressure.js';
import type { Cause, Reason } from './reasons.js';
import type { AdmissionMode, IsolationCause, Regime } from './states.js';
import type {
  BackendMemory,
  BackendSignals,
  Pressure,
  Reference,
  RouteMemory,
  RouteSignals,
} from './types.js';
import type { Demand } from './valve.js';

/** A backend as the step found it, with what it decided. */
interface Figures {
  readonly signals: BackendSignals;
  readonly memory: BackendMemory;
  readonly before: BackendMemory | undefined;
  readonly pressure: Pressure;
  readonly peers: Peers;
  readonly from: number;
  readonly to: number;
}

interface Circumstances {
  readonly route: string;
  readonly reference: Reference;
  readonly systemic: boolean;
  readonly isolated: number;
  readonly backends: number;
  /** Backends that came to the route or left it since the last tick. */
  readonly churned: number;
  /** The skew by which the guard held the step back; null when it did not. */
  readonly guardedSkew: number | null;
}

/** What each term adds to a backend's pressure beyond a peer's. */
function burdens({ pressure }: Figures, knobs: Knobs) {
  return {
    errors: (pressure.errors ?? 0) * knobs.weightErrors * knobs.weightLatency + pressure.gate,
    latency: ((pressure.latency ?? 1) - 1) * knobs.weightLatency,
    queue: ((pressure.queue ?? 1) - 1) * knobs.weightQueue,
  };
}

/** Less than this is no trouble of one's own. */
const slight = 0.05;

function isTroubled(moved: Figures, knobs: Knobs): boolean {
  if (moved.memory.circuit.kind !== 'admitted') return true;
  const { errors, latency, queue } = burdens(moved, knobs);
  return Math.max(errors, latency, queue) > slight;
}

/** What convicted a backend, and what its peers showed: a ratio of failures, or milliseconds. */
function shown(
  of: IsolationCause,
  { signals, before, peers }: Figures,
): { readonly own: number; readonly peers: number } {
  const msOf = (log: number | null) => (log === null ? 0 : exp2(log) / 1000);
  switch (of) {
    case 'errors': {
      const all = peers.connects + peers.served + peers.unserved;
      const bad = peers.failures + peers.unserved;
      const seen = before === undefined ? 0 : failureRatio(before);
      const own = signals.consecutiveFailures > 0 ? 1 : seen;
      return { own, peers: all === 0 ? 0 : bad / all };
    }
    case 'silence':
      return { own: signals.waiting?.ageMs ?? 0, peers: msOf(peers.slowestLog) };
    case 'latency':
      return {
        own: msOf(before === undefined ? null : typicalLog(before)),
        peers: msOf(peers.typicalLog),
      };
  }
}

/** The trouble of one backend: what weighs most in its pressure. */
function trouble(moved: Figures, reference: Reference, knobs: Knobs): Cause {
  const { memory, before, pressure, signals } = moved;
  const { circuit } = memory;
  if (circuit.kind === 'isolated') {
    const { cause: of, cooldownMs } = circuit;
    if (before?.circuit.kind === 'isolated') return { kind: 'drip', of, cooldownMs };
    return { kind: 'isolation', of, cooldownMs, ...shown(of, moved) };
  }
  if (circuit.kind === 'returning') return { kind: 'recovery', forMs: circuit.forMs };
  const { errors, latency, queue } = burdens(moved, knobs);
  if (errors > 0 && errors >= latency && errors >= queue) {
    return { kind: 'errors', ratio: failureRatio(memory), gate: knobs.errorGate };
  }
  if (queue > latency) {
    return { kind: 'queue', ratio: (pressure.queue ?? 1) * knobs.queueGate, gate: knobs.queueGate };
  }
  const own = typicalLog(memory);
  if (own === null && signals.waiting !== null && signals.waiting.count > 0) {
    return { kind: 'silence', waiting: signals.waiting.count, ageMs: signals.waiting.ageMs };
  }
  const normal = exp2(reference.log ?? own ?? 0);
  return { kind: 'latency', us: own === null ? normal : exp2(own), normalUs: normal };
}

/** Who started it: of those with a trouble of their own, the one that moved farthest. */
function protagonist(backends: readonly Figures[], knobs: Knobs): Figures | undefined {
  const far = ({ from, to }: Figures) => Math.abs(to - from);
  const movers = backends.filter((moved) => far(moved) > 0);
  const troubled = movers.filter((moved) => isTroubled(moved, knobs));
  return (troubled.length > 0 ? troubled : movers).reduce<Figures | undefined>(
    (most, moved) => (most === undefined || far(moved) > far(most) ? moved : most),
    undefined,
  );
}

/** A reason for each backend whose slots changed. Who gains, gains by another's trouble. */
function slotReasons(
  backends: readonly Figures[],
  circumstances: Circumstances,
  knobs: Knobs,
): Reason[] {
  const { route, reference, systemic, isolated, churned, guardedSkew } = circumstances;
  const first = protagonist(backends, knobs);
  return backends.flatMap((moved): Reason[] => {
    const { from, to, signals, before } = moved;
    if (from === to) return [];
    const told = (because: string, cause: Cause): Reason[] => [
      { change: { of: 'slots', route, backend: signals.id, from, to, because }, cause },
    ];
    if (systemic)
      return told(route, { kind: 'systemic', isolated, backends: circumstances.backends });
    if (before === undefined || from === 0 || churned > 0)
      return told(route, { kind: 'churn', backends: Math.max(1, churned) });
    if (guardedSkew !== null)
      return told(route, { kind: 'guard', skew: guardedSkew, limit: knobs.skewTolerance });
    const own = to < from && isTroubled(moved, knobs);
    const of = own || first === undefined ? moved : first;
    return told(of.signals.id, trouble(of, reference, knobs));
  });
}

/** What the step decided of a route. */
export interface Outcome {
  readonly observation: Observation;
  readonly moved: Moved;
  readonly mode: AdmissionMode;
  readonly regime: Regime;
  readonly demand: Demand;
}

/** Reasons for a change of the valve, of the regime, and of who holds the valve. */
function stateReasons(
  route: RouteSignals,
  before: RouteMemory,
  { mode, regime, demand }: Outcome,
  figures: readonly Figures[],
  knobs: Knobs,
): Reason[] {
  const calm: Cause = { kind: 'recovery', forMs: before.valve.calmMs };
  const reasons: Reason[] = [];
  if (route.override !== before.overridden) {
    reasons.push({
      change: { of: 'override', route: route.name },
      cause: { kind: 'override', mode: route.override },
    });
  }
  if (mode !== before.valve.mode) {
    reasons.push({
      change: { of: 'admission', route: route.name, from: before.valve.mode, to: mode },
      cause: demand.cause ?? calm,
    });
  }
  if (regime !== before.regime) {
    reasons.push({
      change: { of: 'regime', route: route.name, from: before.regime, to: regime },
      cause: demand.cause ?? sickest(figures, regime, before.reference, knobs) ?? calm,
    });
  }
  return reasons;
}

/** Backends that came or left; on a route's first tick, all of them. */
function churn(route: RouteSignals, before: RouteMemory): number {
  const came = route.backends.filter(({ id }) => !before.backends.has(id)).length;
  return came + Math.max(0, before.backends.size - (route.backends.length - came));
}

/** Most ticks change nothing, and need no reason. */
function isQuiet(
  route: RouteSignals,
  before: RouteMemory,
  { moved, mode, regime }: Outcome,
): boolean {
  return (
    mode === before.valve.mode &&
    regime === before.regime &&
    route.override === before.overridden &&
    route.backends.every(({ slots }, i) => slots === moved.slots[i])
  );
}

/** A reason for everything that changed on a route. */
export function routeReasons(
  route: RouteSignals,
  before: RouteMemory,
  outcome: Outcome,
  knobs: Knobs,
): readonly Reason[] {
  if (isQuiet(route, before, outcome)) return [];
  const { memories, peers, pressures, reference, systemic, isolated } = outcome.observation;
  const figures = route.backends.map((signals, i): Figures => ({
    signals,
    peers: must(peers[i]),
    memory: must(memories[i]),
    before: before.backends.get(signals.id),
    pressure: must(pressures[i]),
    from: signals.slots,
    to: must(outcome.moved.slots[i]),
  }));
  const circumstances = {
    route: route.name,
    reference,
    systemic,
    isolated,
    backends: route.backends.length,
    churned: churn(route, before),
    guardedSkew: outcome.moved.guardedSkew,
  };
  return [
    ...slotReasons(figures, circumstances, knobs),
    ...stateReasons(route, before, outcome, figures, knobs),
  ];
}

/** The trouble of the backend under most pressure, for a regime that grew graver. */
function sickest(
  figures: readonly Figures[],
  regime: Regime,
  reference: Reference,
  knobs: Knobs,
): Cause | null {
  if (regime !== 'transition' && regime !== 'crisis') return null;
  const gravity = ({ memory, pressure }: Figures) =>
    memory.circuit.kind === 'isolated' ? Infinity : pressure.total;
  const worst = figures.reduce<Figures | undefined>(
    (most, one) => (most === undefined || gravity(one) > gravity(most) ? one : most),
    undefined,
  );
  return worst === undefined ? null : trouble(worst, reference, knobs);
}
