// One route's step: what its backends did becomes what they may have. Each part
// of the law has a file of its own; this is the order in which they act.
import type { Knobs } from '../config/knobs.js';
import { exp2, median, must } from './arithmetic.js';
import { routeReasons } from './causes.js';
import { freshMemory } from './memory.js';
import { move, type Moved } from './motion.js';
import { observe, type Observation } from './observation.js';
import { normalPressure } from './pressure.js';
import type { Reason } from './reasons.js';
import { noReference } from './reference.js';
import { isIdle, isSpent, shared } from './rest.js';
import { regimeOf, strictness } from './regime.js';
import type { AdmissionMode } from './states.js';
import type {
  BackendField,
  BackendMemory,
  Pressure,
  RouteField,
  RouteMemory,
  RouteSignals,
} from './types.js';
import {
  followFlow,
  freshValve,
  gravest,
  missingCapacity,
  stepValve,
  type Demand,
  type Flow,
} from './valve.js';

/** So many times the pressure of its peers is called degraded. */
const degradedAt = 1.5;

const freshRoute: RouteMemory = {
  backends: new Map(),
  order: [],
  reference: noReference,
  moving: false,
  offMs: 0,
  guard: 1,
  skew: 0,
  valve: freshValve,
  regime: 'laminar',
  systemic: false,
  overridden: null,
  rest: null,
};

const noPressure: Pressure = {
  queue: null,
  latency: null,
  path: null,
  node: null,
  errors: null,
  gate: 0,
  total: 0,
};

/** G = Σ s_b/(P_b+ε), relative to what it is when every pressure is normal; 1 for no backend. */
function conductanceOf(
  slots: readonly number[],
  { pressures }: Observation,
  total: number,
  knobs: Knobs,
): number {
  if (slots.length === 0 || total === 0) return 1;
  let g = 0;
  slots.forEach((count, i) => {
    g += count / (must(pressures[i]).total + knobs.epsilon);
  });
  return (g / total) * (normalPressure(knobs) + knobs.epsilon);
}

/** What closes the valve: the node runs out of something, or the route's capacity is missing. */
function demandOf(flow: Flow, node: Demand): Demand {
  const missing = missingCapacity(flow);
  const route: Demand = { mode: missing === null ? 'normal' : 'soft', cause: missing };
  return gravest([{ mode: 'normal', cause: null }, node, route]);
}

/** What a peer's pressure is now: normal, or the median's where all are under pressure. */
function peerPressure({ pressures, out }: Observation, knobs: Knobs): number {
  const totals = pressures.filter((_, i) => out[i] !== true).map(({ total }) => total);
  return Math.max(normalPressure(knobs), median(totals) ?? 0);
}

function backendFields(
  route: RouteSignals,
  observation: Observation,
  { slots, targets, weights, underway }: Moved,
  knobs: Knobs,
): BackendField[] {
  const { out, pressures, memories } = observation;
  // Where all are late none is worse than its peers: the twin, which passes over the
  // degraded, has to choose between them.
  const most = degradedAt * peerPressure(observation, knobs);
  return route.backends.map((signals, i): BackendField => {
    const pressure = pressures[i] ?? noPressure;
    const admitted = pressure.total > most ? 'degraded' : 'healthy';
    const memory = memories[i] ?? freshMemory(knobs);
    const moves = underway[i] ?? false;
    return {
      id: signals.id,
      slots: slots[i] ?? 0,
      before: signals.slots,
      target: targets[i] ?? 0,
      weight: weights[i] ?? 0,
      state: out[i] === true ? 'isolated' : admitted,
      pressure,
      memory: memory.underway === moves ? memory : { ...memory, underway: moves },
    };
  });
}

/** Only where load is the cause, and no shift of slots can help, is another replica asked for. */
function scaleHint(
  { memories, contended, late }: Observation,
  mode: AdmissionMode,
  demand: Demand,
): RouteField['scaleHint'] {
  if (memories.length === 0) return 'empty';
  const short = demand.cause?.kind === 'capacity';
  if (memories.length === 1 && (short || mode !== 'normal' || (contended && late === true))) {
    return 'monopoly';
  }
  return short ? 'capacity' : null;
}

/** Where nobody stands in line, the second choice must not bend shares. */
function gearOf(gear: 'single' | 'twin', { contended }: Observation): RouteField['gear'] {
  return gear === 'twin' && !contended ? 'bounded' : gear;
}

function byId(backends: readonly BackendField[]): Map<string, BackendMemory> {
  const memories = new Map<string, BackendMemory>();
  for (const { id, memory } of backends) memories.set(id, memory);
  return memories;
}

const noReasons: readonly Reason[] = [];

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
  if (before.rest !== null && isIdle(route, before, node)) {
    return { memory: before, field: before.rest, reasons: noReasons };
  }
  const strict = strictness[before.regime];
  const observation = observe(route, before, strict, dtMs, knobs);
  const moved = move(route, before, observation, strict, dtMs, knobs);
  const conductance = conductanceOf(moved.slots, observation, route.slots, knobs);
  const flow = followFlow(before.valve, route, observation.late, dtMs, knobs);
  const demand = demandOf(flow, node);
  const { congested } = observation;
  const valve = stepValve(before.valve, demand, congested, flow, route.refused, dtMs, knobs);
  const { mode } = valve.field;
  const backends = backendFields(route, observation, moved, knobs);
  const { reference, systemic } = observation;
  let sick = 0;
  let returning = 0;
  for (const { state, memory } of backends) {
    if (state !== 'healthy') sick++;
    if (memory.circuit.kind === 'returning') returning++;
  }
  const health = {
    systemic,
    admission: mode,
    conductance,
    sick,
    returning,
    debt: valve.memory.debt,
  };
  const regime = regimeOf(before.regime, health, knobs);
  const { motion } = moved;
  const field: RouteField = {
    name: route.name,
    slots: route.slots,
    backends,
    regime,
    gear: gearOf(strictness[regime].gear, observation),
    systemic,
    conductance,
    referenceUs: reference.log === null ? null : exp2(reference.log),
    motion,
    valve: valve.field,
    scaleHint: scaleHint(observation, mode, demand),
  };
  const reasons = routeReasons(route, before, { observation, moved, mode, regime, demand }, knobs);
  const memory: RouteMemory = {
    backends: byId(backends),
    order: observation.order,
    reference,
    moving: motion.moving,
    offMs: moved.offMs,
    guard: motion.guard,
    skew: motion.skew,
    valve: valve.memory,
    regime,
    systemic,
    overridden: route.override,
    rest: null,
  };
  if (reasons.length > 0 || !isSpent(memory, knobs)) return { memory, field, reasons };
  const rest = shared(field);
  return { memory: { ...memory, backends: byId(rest.backends), rest }, field: rest, reasons };
}
