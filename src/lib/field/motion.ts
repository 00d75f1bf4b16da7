// How the slots of a route move: from pressures to weights to targets, and towards
// these through hysteresis, viscosity and the guard.
import type { Knobs } from '../config/knobs.js';
import { sum } from './arithmetic.js';
import { guarded, skewOf } from './guard.js';
import { offered } from './isolation.js';
import type { Observation } from './observation.js';
import type { Strictness } from './regime.js';
import { apportion, exactly, steadied, targets, viscous } from './slots.js';
import type { Motion, RouteMemory, RouteSignals } from './types.js';

export interface Moved {
  readonly weights: readonly number[];
  readonly targets: readonly number[];
  readonly slots: readonly number[];
  readonly motion: Motion;
  /** Who has yet to go to his target. */
  readonly underway: readonly boolean[];
  /** How long some backend has been off by more than its settle band. */
  readonly offMs: number;
  /** The skew by which the guard made the step smaller; null when it did not. */
  readonly guardedSkew: number | null;
}

/** w_b = (1/(P_b+ε)) / Σ 1/(P_i+ε), of those who are in the game, as far as they are offered. */
function weightsOf(observation: Observation, knobs: Knobs): number[] {
  const { memories, pressures, systemic, out } = observation;
  const raw = pressures.map(({ total }, i) => {
    const circuit = memories[i]?.circuit;
    if (out[i] === true) return 0;
    if (systemic || circuit === undefined) return 1;
    return offered(circuit, knobs) / (total + knobs.epsilon);
  });
  const total = sum(raw);
  return raw.map((weight) => (total > 0 ? weight / total : 1 / raw.length));
}

/** What each backend owns to begin with: slots that nobody owns are dealt out by target. */
function occupied(
  { slots, backends }: RouteSignals,
  target: readonly number[],
  order: readonly number[],
): number[] {
  const current = backends.map((backend) => backend.slots);
  const free = slots - sum(current);
  if (free <= 0) return current;
  const missing = target.map((count, i) => Math.max(0, count - (current[i] ?? 0)));
  const dealt = apportion(missing, free, order);
  return current.map((count, i) => count + (dealt[i] ?? 0));
}

export function move(
  route: RouteSignals,
  before: RouteMemory,
  observation: Observation,
  strict: Strictness,
  dtMs: number,
  knobs: Knobs,
): Moved {
  const { slots: total, backends } = route;
  const fair = total / Math.max(1, backends.length);
  const { out, order } = observation;
  const weights = weightsOf(observation, knobs);
  // An isolated backend keeps one slot, which the kernel meters by the drip.
  const least = Math.max(1, Math.round(fair * knobs.floorShare));
  const floors = backends.map((_, i) => (out[i] === true ? 1 : least));
  const target = targets(weights, floors, total, order);
  const current = occupied(route, target, order);

  const startsAt = Math.max(1, fair * knobs.deadBand * strict.deadBand);
  const stopsAt = Math.max(1, fair * knobs.settleBand);
  const off = current.map((count, i) => Math.abs((target[i] ?? 0) - count));
  const worst = Math.max(0, ...off);
  // Who has set out goes all the way; others stay where they are not off but for rounding.
  const exact = exactly(weights, floors, target);
  const stays = observation.memories.map(({ underway }, i) =>
    underway ? off[i] === 0 : Math.abs((exact[i] ?? 0) - (current[i] ?? 0)) <= stopsAt,
  );
  const settled = stays.every((stay) => stay);
  const freed = sum(current.map((count, i) => (out[i] === true ? Math.max(0, count - 1) : 0)));
  // What lasts is no noise, so the dead band gives way to it.
  const offMs = settled ? 0 : before.offMs + dtMs;
  const underWay = before.moving || before.regime === 'recovery' || offMs > knobs.offMs;
  const moving = underWay ? !settled : worst > startsAt;

  const skewNow = skewOf(current, weights, total);
  const guard = guarded(before.guard, before.skew, skewNow, before.moving && freed === 0, knobs);
  const limit = Math.max(1, Math.floor(fair * knobs.viscosity * strict.viscosity * guard.scale));
  // Isolation is exempt from viscosity, and so must be those who take over its slots.
  const limits = backends.map((_, i) => (freed > 0 || out[i] === true ? total : limit));
  const aim = steadied(current, target, stays, order);
  const slots = moving || freed > 0 ? viscous(current, aim, limits, order) : current;
  const skew = skewOf(slots, weights, total);
  return {
    weights,
    targets: target,
    slots,
    underway: slots.map((count, i) => moving && stays[i] === false && count !== target[i]),
    offMs,
    motion: { worst, startsAt, stopsAt, moving, limit, guard: guard.scale, skew },
    guardedSkew: guard.tightened ? skewNow : null,
  };
}
