// The monotonic guard: when a route's skew grows although steps were taken to
// lessen it, the steps themselves are the trouble, and are made smaller.
import type { Knobs } from '../config/knobs.js';

/** Calm widens the limit again by a fifth a tick. */
const widen = 1.2;
const narrowest = 1 / 64;

/** How far the shares of slots are from the weights, at the worst backend. */
export function skewOf(
  slots: readonly number[],
  weights: readonly number[],
  total: number,
): number {
  let worst = 0;
  slots.forEach((count, i) => {
    worst = Math.max(worst, Math.abs(count / Math.max(1, total) - (weights[i] ?? 0)));
  });
  return worst;
}

export interface Guard {
  /** Part of the viscosity's limit that is left, in (0, 1]. */
  readonly scale: number;
  readonly tightened: boolean;
}

/**
 * `before` is the skew that the last step left, `now` the skew that it meets:
 * if the weights ran away from the slots while these were moving towards them,
 * the loop is chasing itself.
 */
export function guarded(
  scale: number,
  before: number,
  now: number,
  moved: boolean,
  knobs: Knobs,
): Guard {
  if (moved && now - before > knobs.skewTolerance) {
    return { scale: Math.max(narrowest, scale / knobs.guardShrink), tightened: true };
  }
  return { scale: Math.min(1, scale * widen), tightened: false };
}
