// The control law (RFC 0001): signals in, slots out. Pure: no clock, no chance,
// no order but that of the inputs, and arithmetic that is the same everywhere.
import type { Knobs } from '../config/knobs.js';
import { isSystemic, judge } from './isolation.js';
import { freshMemory, remember } from './memory.js';
import { pressures } from './pressure.js';
import { targets, viscous } from './slots.js';
import type {
  BackendField,
  BackendMemory,
  FieldState,
  Inputs,
  Pressure,
  Reason,
  ReasonKind,
  RouteField,
  RouteMemory,
  RouteSignals,
  StepResult,
} from './types.js';

/** Twice the pressure of a peer like the others is called degraded. */
const degradedAt = 2;

interface Judged {
  readonly memories: readonly BackendMemory[];
  readonly pressures: readonly Pressure[];
  readonly systemic: boolean;
}

function observe(
  route: RouteSignals,
  before: RouteMemory | undefined,
  dtMs: number,
  knobs: Knobs,
): Judged {
  const memories = route.backends.map((signals) => {
    const known = before?.backends.get(signals.id) ?? freshMemory(knobs);
    return judge(remember(known, signals, dtMs, knobs), signals, dtMs, knobs);
  });
  const systemic = isSystemic(memories.filter(({ isolated }) => isolated).length, memories.length);
  const observed = route.backends.map((signals, i) => ({
    signals,
    memory: memories[i] ?? freshMemory(knobs),
  }));
  return { memories, pressures: pressures(observed, knobs), systemic };
}

/** Names decide ties, so the order in which backends are listed cannot. */
function tieOrder(route: RouteSignals): number[] {
  return route.backends
    .map((_, i) => i)
    .sort((a, b) => ((route.backends[a]?.id ?? '') < (route.backends[b]?.id ?? '') ? -1 : 1));
}

/** Out of the game but for its drip; nobody is, when the cause is systemic. */
function isOut(judged: Judged, i: number): boolean {
  return !judged.systemic && judged.memories[i]?.isolated === true;
}

function wanted(
  route: RouteSignals,
  judged: Judged,
  order: readonly number[],
  knobs: Knobs,
): number[] {
  const { slots, backends } = route;
  const fair = slots / backends.length;
  const weights = judged.pressures.map((pressure, i) => {
    if (isOut(judged, i)) return 0;
    return judged.systemic ? 1 : 1 / (pressure.total + knobs.epsilon);
  });
  // An isolated backend keeps one slot as its drip: the kernel's breaker guards it.
  const floors = backends.map((_, i) =>
    isOut(judged, i) ? 1 : Math.max(1, Math.round(fair * knobs.floorShare)),
  );
  return targets(weights, floors, slots, order);
}

/** What each backend owns to begin with: slots that nobody owns are dealt out by target. */
function occupied(
  route: RouteSignals,
  target: readonly number[],
  order: readonly number[],
): number[] {
  const current = route.backends.map(({ slots }) => slots);
  const free = route.slots - current.reduce((a, b) => a + b, 0);
  const missing = target.map((count, i) => Math.max(0, count - (current[i] ?? 0)));
  const dealt = targets(
    missing,
    missing.map(() => 0),
    Math.max(0, free),
    order,
  );
  return current.map((count, i) => count + (dealt[i] ?? 0));
}

function limits(
  route: RouteSignals,
  judged: Judged,
  current: readonly number[],
  knobs: Knobs,
): number[] {
  const most = Math.max(1, Math.floor((route.slots / route.backends.length) * knobs.viscosity));
  const freed = route.backends.reduce(
    (sum, _, i) => (isOut(judged, i) ? sum + Math.max(0, (current[i] ?? 0) - 1) : sum),
    0,
  );
  // Isolation is exempt from viscosity, and so must be those who take over its slots.
  return route.backends.map((_, i) => (freed > 0 || isOut(judged, i) ? route.slots : most));
}

/** Nothing moves inside the dead band; once moving, it goes on until it has settled. */
function moves(
  current: readonly number[],
  target: readonly number[],
  fair: number,
  was: boolean,
  knobs: Knobs,
): boolean {
  const worst = current.reduce(
    (most, count, i) => Math.max(most, Math.abs((target[i] ?? 0) - count)),
    0,
  );
  if (was) return worst > Math.max(1, fair * knobs.settleBand);
  return worst > Math.max(1, fair * knobs.deadBand);
}

function kindOf(
  judged: Judged,
  before: RouteMemory | undefined,
  route: RouteSignals,
  i: number,
  to: number,
): ReasonKind {
  const signals = route.backends[i];
  const memory = judged.memories[i];
  const pressure = judged.pressures[i];
  const known = before?.backends.get(signals?.id ?? '');
  if (judged.systemic) return 'systemic';
  if (memory?.isolated === true) return known?.isolated === true ? 'drip' : 'isolation';
  if (known === undefined || signals === undefined || signals.slots === 0) return 'churn';
  if (pressure === undefined || to > signals.slots) return 'recovery';
  if (pressure.errors >= pressure.queue - 1 && pressure.errors > 0) return 'errors';
  return pressure.latency > pressure.queue ? 'latency' : 'queue';
}

function stateOf(judged: Judged, i: number, knobs: Knobs): BackendField['state'] {
  if (isOut(judged, i)) return 'isolated';
  const calm = knobs.weightQueue + knobs.weightLatency;
  return (judged.pressures[i]?.total ?? 0) > degradedAt * calm ? 'degraded' : 'healthy';
}

interface RouteStep {
  readonly memory: RouteMemory;
  readonly field: RouteField;
  readonly reasons: readonly Reason[];
}

function stepRoute(
  route: RouteSignals,
  before: RouteMemory | undefined,
  dtMs: number,
  knobs: Knobs,
): RouteStep {
  const judged = observe(route, before, dtMs, knobs);
  const order = tieOrder(route);
  const target = wanted(route, judged, order, knobs);
  const current = occupied(route, target, order);
  const fair = route.slots / Math.max(1, route.backends.length);
  const moving = moves(current, target, fair, before?.moving ?? false, knobs);
  const slots = moving
    ? viscous(current, target, limits(route, judged, current, knobs), order)
    : current;
  const none: Pressure = { queue: 1, latency: 1, errors: 0, total: 0 };
  const backends = route.backends.map(({ id }, i) => ({
    id,
    slots: slots[i] ?? 0,
    state: stateOf(judged, i, knobs),
    pressure: judged.pressures[i] ?? none,
    target: target[i] ?? 0,
  }));
  const reasons = route.backends.flatMap(({ id, slots: from }, i): Reason[] => {
    const to = slots[i] ?? 0;
    if (to === from) return [];
    const kind = kindOf(judged, before, route, i, to);
    return [
      { route: route.name, backend: id, kind, from, to, pressure: judged.pressures[i] ?? none },
    ];
  });
  const memories = new Map(
    route.backends.map(({ id }, i) => [id, judged.memories[i] ?? freshMemory(knobs)]),
  );
  return {
    memory: { backends: memories, moving },
    field: { name: route.name, slots: route.slots, backends },
    reasons,
  };
}

/**
 * One tick. A route that is not in the inputs is forgotten. For each route the
 * slots of its backends sum to its table's, unless it has no backend.
 */
export function step(state: FieldState, inputs: Inputs, knobs: Knobs): StepResult {
  const steps = inputs.routes.map(
    (route) => [route.name, stepRoute(route, state.get(route.name), inputs.dtMs, knobs)] as const,
  );
  return {
    state: new Map(steps.map(([name, { memory }]) => [name, memory])),
    field: steps.map(([, { field }]) => field),
    reasons: steps.flatMap(([, { reasons }]) => reasons),
  };
}
