// What a soft valve admits: it begins at what the route was seen to carry, and then
// follows how the route fares with it, as TCP's window follows its path (Jacobson 1988).
import type { Knobs } from '../config/knobs.js';
import { exp2, faded } from './arithmetic.js';

/** How the route fares with what it is given. */
export type Fare =
  /** Its backends are overwhelmed: their lines must end. */
  | 'congested'
  /** The node runs out of something: a little less, until it does not. */
  | 'exhausted'
  /** The valve's cause is still there, but less would not help against it. */
  | 'pressed'
  | 'relieved';

/** Doublings of the budget in a second. */
const paces = {
  congested: -1,
  exhausted: -0.1,
  /** Back to what was carried before, as TCP's slow start. */
  below: 1,
  /** And on, carefully. */
  above: 0.15,
};

/** How long it is remembered what a route carried. */
const carriedMs = 60_000;

/** What the route carried at its best, of late; a route that carries nothing learns nothing. */
export function carriedOf(before: number, goodputPerSecond: number, dtMs: number): number {
  if (goodputPerSecond === 0) return before;
  return faded(Math.max(goodputPerSecond, (before * carriedMs) / (carriedMs + dtMs)));
}

/**
 * The budget in connects a second. It cannot follow the goodput, which itself follows
 * the budget: that would close the valve for good.
 */
export function budgetOf(
  before: number | null,
  fare: Fare,
  route: { readonly carriedPerSecond: number; readonly goodputPerSecond: number },
  dtMs: number,
  knobs: Knobs,
): number {
  const { carriedPerSecond, goodputPerSecond } = route;
  const base = carriedPerSecond * knobs.budgetPressed;
  if (before === null) return Math.max(knobs.budgetMin, base);
  const rising = before < base ? 'below' : 'above';
  const pace = paces[fare === 'congested' || fare === 'exhausted' ? fare : rising];
  const next = before * exp2((pace * dtMs) / 1000);
  if (pace < 0) return Math.max(knobs.budgetMin, next);
  const most = knobs.budgetHeadroom * Math.max(carriedPerSecond, goodputPerSecond);
  const least = fare === 'relieved' ? knobs.budgetHeadroom * goodputPerSecond : 0;
  return Math.max(knobs.budgetMin, least, Math.min(most, next));
}
