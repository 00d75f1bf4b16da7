// monotonic-skew: a step never takes the slots farther from the weights that it goes by
// than they were, but for rounding and the tolerance of the guard.
import { skewOf } from '../../field/guard.js';
import { frees, isStable, type Examiner } from './examiner.js';

export const monotonicSkew = (): Examiner => ({
  name: 'monotonic-skew',
  look: (look) => {
    const { field, view } = look;
    if (!isStable(look) || frees(look) || field.valve.mode === 'hard') return null;
    const weights = field.backends.map(({ weight }) => weight);
    const before = field.backends.map((backend) => backend.before);
    const after = field.backends.map(({ slots }) => slots);
    const grew = skewOf(after, weights, field.slots) - skewOf(before, weights, field.slots);
    return {
      seen: Math.max(0, grew),
      limit: view.knobs.skewTolerance + 1 / field.slots,
      backend: null,
    };
  },
  says: ({ seen, limit }) =>
    `A step took the slots ${seen.toFixed(3)} farther from their weights, where ${limit.toFixed(3)} may be.`,
});
