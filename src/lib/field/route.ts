// One route's step: what its backends did becomes what they may have. Each part
// of the law has a file of its own; this is the order in which they act.
import type { Knobs } from '../config/knobs.js';
import { exp2, log2, sum } from './arithmetic.js';
import { slotReasons, stateReasons, type Moved } from './causes.js';
import { guarded, skewOf } from './guard.js';
import { isSystemic, judge, offered } from './isolation.js';
import { forgetEvidence, freshMemory, remember, typicalUs } from './memory.js';
import { normalPressure, pressures } from './pressure.js';
import type { Reason } from './reasons.js';
import { judgeLatency, noReference, normalLog } from './reference.js';
import { regimeOf, strictness, type Strictness } from './regime.js';
import { apportion, targets, viscous } from './slots.js';
import type {
  BackendField,
  BackendMemory,
  Pressure,
  Reference,
  RouteField,
  RouteMemory,
  RouteSignals,
} from './types.js';
import { freshValve, gravest, stepValve, type Demand } from './valve.js';

/** So many times the pressure of a backend like its peers is called degraded. */
const degradedAt = 1.5;

export const freshRoute: RouteMemory = {
  backends: new Map(),
  reference: noReference,
  moving: false,
  guard: 1,
  skew: 0,
  valve: freshValve,
  regime: 'laminar',
  systemic: false,
  overridden: null,
};

interface Observation {
  readonly memories: readonly BackendMemory[];
  readonly reference: Reference;
  readonly pressures: readonly Pressure[];
  readonly isolated: number;
  readonly systemic: boolean;
}

/** Estimates, then latency against what is normal, then each circuit, then pressure. */
function observe(
  route: RouteSignals,
  before: RouteMemory,
  strict: Strictness,
  dtMs: number,
  knobs: Knobs,
): Observation {
  const remembered = route.backends.map((signals) =>
    remember(before.backends.get(signals.id) ?? freshMemory(knobs), signals, dtMs, knobs),
  );
  const latency = judgeLatency(
    before.reference,
    route.backends,
    remembered,
    log2(knobs.isolateSlower),
    dtMs,
    knobs,
  );
  const asStrict = { ...knobs, isolateEvidence: knobs.isolateEvidence * strict.evidence };
  const memories = latency.memories.map((memory, i) => {
    const signals = route.backends[i];
    if (signals === undefined) return memory;
    const verdict = {
      signals,
      normalLog: normalLog(memory, latency.reference, null),
      slow: latency.slow[i] === true,
      good: latency.good[i] === true,
    };
    const circuit = judge(memory, verdict, dtMs, asStrict);
    const turned = circuit.kind !== memory.circuit.kind && circuit.kind !== 'admitted';
    return { ...(turned ? forgetEvidence(memory) : memory), circuit };
  });
  const isolated = memories.filter(({ circuit }) => circuit.kind === 'isolated').length;
  const observed = route.backends.map((signals, i) => ({
    signals,
    memory: memories[i] ?? freshMemory(knobs),
  }));
  return {
    memories,
    reference: latency.reference,
    pressures: pressures(observed, latency.reference, knobs),
    isolated,
    systemic: isSystemic(isolated, memories.length),
  };
}

/** Names decide ties, so the order in which backends are listed cannot. */
function tieOrder(route: RouteSignals): number[] {
  const { backends } = route;
  return backends
    .map((_, i) => i)
    .sort((a, b) => ((backends[a]?.id ?? '') < (backends[b]?.id ?? '') ? -1 : 1));
}

/** w_b = (1/(P_b+ε)) / Σ 1/(P_i+ε), of those who are in the game, as far as they are offered. */
function weightsOf({ memories, pressures: all, systemic }: Observation, knobs: Knobs): number[] {
  const raw = all.map(({ total }, i) => {
    const circuit = memories[i]?.circuit;
    if (systemic || circuit === undefined) return 1;
    return offered(circuit, knobs) / (total + knobs.epsilon);
  });
  const total = sum(raw);
  return raw.map((weight) => (total > 0 ? weight / total : 1 / raw.length));
}

function isOut({ systemic, memories }: Observation, i: number): boolean {
  return !systemic && memories[i]?.circuit.kind === 'isolated';
}

/** What each backend owns to begin with: slots that nobody owns are dealt out by target. */
function occupied(
  route: RouteSignals,
  target: readonly number[],
  order: readonly number[],
): number[] {
  const current = route.backends.map(({ slots }) => slots);
  const free = route.slots - sum(current);
  const missing = target.map((count, i) => Math.max(0, count - (current[i] ?? 0)));
  const dealt = apportion(missing, Math.max(0, free), order);
  return current.map((count, i) => count + (dealt[i] ?? 0));
}

/** G = Σ s_b/(P_b+ε), relative to what it is when every pressure is normal. */
function conductanceOf(
  slots: readonly number[],
  all: readonly Pressure[],
  total: number,
  knobs: Knobs,
): number {
  if (total === 0) return 0;
  const g = sum(slots.map((count, i) => count / ((all[i]?.total ?? 0) + knobs.epsilon)));
  return (g / total) * (normalPressure(knobs) + knobs.epsilon);
}

function demands(
  route: RouteSignals,
  observation: Observation,
  conductance: number,
  node: Demand,
  knobs: Knobs,
): Demand {
  const { systemic, isolated } = observation;
  const all: Demand[] = [{ mode: 'normal', cause: null }, node];
  if (systemic) {
    const backends = route.backends.length;
    all.push({ mode: 'soft', cause: { kind: 'systemic', isolated, backends } });
  }
  if (conductance < knobs.conductanceMin && route.backends.length > 0) {
    const least = knobs.conductanceMin;
    all.push({ mode: 'soft', cause: { kind: 'conductance', conductance, least } });
  }
  return gravest(all);
}

export interface RouteStep {
  readonly memory: RouteMemory;
  readonly field: RouteField;
  readonly reasons: readonly Reason[];
}

export function stepRoute(
  route: RouteSignals,
  known: RouteMemory | undefined,
  node: Demand,
  dtMs: number,
  knobs: Knobs,
): RouteStep {
  const before = known ?? freshRoute;
  const strict = strictness[before.regime];
  const observation = observe(route, before, strict, dtMs, knobs);
  const { memories, reference, systemic, isolated } = observation;
  const order = tieOrder(route);
  const count = route.backends.length;
  const fair = route.slots / Math.max(1, count);

  const weights = weightsOf(observation, knobs);
  // An isolated backend keeps one slot, which the kernel meters by the drip.
  const floors = route.backends.map((_, i) =>
    isOut(observation, i) ? 1 : Math.max(1, Math.round(fair * knobs.floorShare)),
  );
  const target = targets(weights, floors, route.slots, order);
  const current = occupied(route, target, order);

  const skewNow = skewOf(current, weights, route.slots);
  const freed = sum(current.map((n, i) => (isOut(observation, i) ? Math.max(0, n - 1) : 0)));
  const guard = guarded(before.guard, before.skew, skewNow, before.moving && freed === 0, knobs);
  const most = Math.max(1, Math.floor(fair * knobs.viscosity * strict.viscosity * guard.scale));
  const startsAt = Math.max(1, fair * knobs.deadBand * strict.deadBand);
  const stopsAt = Math.max(1, fair * knobs.settleBand);
  const worst = current.reduce((w, n, i) => Math.max(w, Math.abs((target[i] ?? 0) - n)), 0);
  const moving = worst > (before.moving ? stopsAt : startsAt);
  // Isolation is exempt from viscosity, and so must be those who take over its slots.
  const limits = current.map((_, i) => (freed > 0 || isOut(observation, i) ? route.slots : most));
  const slots = moving || freed > 0 ? viscous(current, target, limits, order) : current;

  const conductance = conductanceOf(slots, observation.pressures, route.slots, knobs);
  const demand = demands(route, observation, conductance, node, knobs);
  const valve = stepValve(before.valve, demand, route, dtMs, knobs);
  const normal = normalPressure(knobs);
  const backends = route.backends.map((signals, i): BackendField => {
    const memory = memories[i] ?? freshMemory(knobs);
    const pressure = observation.pressures[i] ?? emptyPressure;
    return {
      id: signals.id,
      slots: slots[i] ?? 0,
      before: signals.slots,
      target: target[i] ?? 0,
      weight: weights[i] ?? 0,
      state: isOut(observation, i)
        ? 'isolated'
        : pressure.total > degradedAt * normal
          ? 'degraded'
          : 'healthy',
      pressure,
      circuit: memory.circuit,
      evidence: memory.evidence,
      firstByteUs: typicalUs(memory),
      answers: memory.answers,
    };
  });
  const regime = regimeOf(
    before.regime,
    {
      systemic,
      admission: valve.field.mode,
      conductance: count === 0 ? 1 : conductance,
      sick: backends.filter(({ state }) => state !== 'healthy').length,
      returning: memories.filter(({ circuit }) => circuit.kind === 'returning').length,
      debt: valve.memory.debt,
    },
    knobs,
  );
  const moved = route.backends.map((signals, i): Moved => ({
    signals,
    memory: memories[i] ?? freshMemory(knobs),
    before: before.backends.get(signals.id),
    pressure: observation.pressures[i] ?? emptyPressure,
    from: signals.slots,
    to: slots[i] ?? 0,
  }));
  const reasons = [
    ...slotReasons(
      moved,
      {
        route: route.name,
        reference,
        systemic,
        isolated,
        backends: count,
        churned: churn(route, before),
        guardedSkew: guard.tightened ? skewNow : null,
      },
      knobs,
    ),
    ...stateReasons(route, before, { mode: valve.field.mode, regime, demand, moved }, knobs),
  ];
  const skew = skewOf(slots, weights, route.slots);
  return {
    memory: {
      backends: new Map(route.backends.map(({ id }, i) => [id, memories[i] ?? freshMemory(knobs)])),
      reference,
      moving,
      guard: guard.scale,
      skew,
      valve: valve.memory,
      regime,
      systemic,
      overridden: route.override,
    },
    field: {
      name: route.name,
      slots: route.slots,
      backends,
      regime,
      gear: strictness[regime].gear,
      systemic,
      conductance,
      referenceUs: reference.log === null ? null : exp2(reference.log),
      motion: { worst, startsAt, stopsAt, moving, limit: most, guard: guard.scale, skew },
      valve: valve.field,
      scaleHint: hint(route, observation, valve.field.mode, conductance, knobs),
    },
    reasons,
  };
}

const emptyPressure: Pressure = {
  queue: null,
  latency: null,
  path: null,
  node: null,
  errors: null,
  gate: 0,
  total: 0,
};

/** Backends that came or left; on a route's first tick, all of them. */
function churn(route: RouteSignals, before: RouteMemory): number {
  const came = route.backends.filter(({ id }) => !before.backends.has(id)).length;
  return came + Math.max(0, before.backends.size - (route.backends.length - came));
}

/** Only where no shift of slots can help is another replica asked for. */
function hint(
  { backends }: RouteSignals,
  { systemic }: Observation,
  mode: RouteField['valve']['mode'],
  conductance: number,
  knobs: Knobs,
): RouteField['scaleHint'] {
  if (backends.length === 0) return 'empty';
  const stressed = mode !== 'normal' || conductance < knobs.conductanceMin * 2;
  if (backends.length === 1 && (stressed || systemic)) return 'monopoly';
  if (systemic) return 'systemic';
  return conductance < knobs.conductanceMin ? 'conductance' : null;
}
