// How long things take: samplers of the distributions that a scenario can name,
// with arithmetic that is the same on every machine.
import { exp2, log2 } from '../../field/arithmetic.js';
import type { DistributionSpec } from '../quantities.js';
import type { Random } from './random.js';

const ln2 = 0.6931471805599453;
const perLn2 = 1.4426950408889634;

const ln = (x: number): number => log2(x) * ln2;

/** Exponential with mean 1. A draw of 0 would be infinite: it becomes the least that is not. */
export function exponential(random: Random): number {
  return -ln(1 - random());
}

/** Standard normal, by Marsaglia's polar method (SIAM Review 6, 1964): log and root alone. */
function standardNormal(random: Random): number {
  for (;;) {
    const u = 2 * random() - 1;
    const v = 2 * random() - 1;
    const s = u * u + v * v;
    if (s > 0 && s < 1) return u * Math.sqrt((-2 * ln(s)) / s);
  }
}

/** Milliseconds, never below 0. */
export type Sampler = () => number;

export function samplerOf(spec: DistributionSpec, random: Random): Sampler {
  switch (spec.kind) {
    case 'constant':
      return () => spec.ms;
    case 'normal':
      return () => Math.max(0, spec.meanMs + spec.sdMs * standardNormal(random));
    case 'exponential':
      return () => spec.meanMs * exponential(random);
    case 'lognormal':
      return () => spec.medianMs * exp2(spec.sigma * standardNormal(random) * perLn2);
    case 'pareto':
      // Least times U^(-1/shape).
      return () => spec.leastMs * exp2(-log2(1 - random()) / spec.shape);
  }
}
