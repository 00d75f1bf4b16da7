// Chance: the same for the same seed, a stream for each purpose, and the distributions
// what they are called.
import { describe, expect, it } from 'vitest';

import { samplerOf } from '../../src/lib/harness/chance/distributions.js';
import { randomOf } from '../../src/lib/harness/chance/random.js';
import type { DistributionSpec } from '../../src/lib/harness/quantities.js';

const draws = 100_000;

function sorted(spec: DistributionSpec): Float64Array {
  const sample = samplerOf(spec, randomOf(7, 'a test'));
  return Float64Array.from({ length: draws }, sample).sort();
}
const quantile = (values: Float64Array, part: number) => values[Math.floor(part * draws)] ?? NaN;
const mean = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / values.length;

describe('a stream of chance', () => {
  it('is the same for its seed and purpose, and another for any other', () => {
    const first = (seed: number, purpose: string) => {
      const random = randomOf(seed, purpose);
      return [random(), random(), random()];
    };
    expect(first(1, 'arrivals')).toEqual(first(1, 'arrivals'));
    expect(first(1, 'arrivals')).not.toEqual(first(2, 'arrivals'));
    expect(first(1, 'arrivals')).not.toEqual(first(1, 'luck'));
  });

  it('is these very numbers, on every machine', () => {
    const random = randomOf(1, 'arrivals');
    expect([random(), random(), random()]).toMatchInlineSnapshot(`
      [
        0.021644072839990258,
        0.47216102480888367,
        0.26793361571617424,
      ]
    `);
  });

  it('is uniform: sixteen boxes of a hundred thousand draws pass a χ² test', () => {
    const random = randomOf(3, 'boxes');
    const boxes = new Array<number>(16).fill(0);
    for (let i = 0; i < draws; i++) {
      const box = Math.floor(random() * 16);
      boxes[box] = (boxes[box] ?? 0) + 1;
    }
    const due = draws / 16;
    const chi2 = boxes.reduce((sum, count) => sum + (count - due) ** 2 / due, 0);
    // 15 degrees of freedom: one in a thousand exceeds 37.7.
    expect(chi2).toBeLessThan(37.7);
  });
});

describe('distributions', () => {
  it('exponential: its mean, and its median ln 2 times that', () => {
    const values = sorted({ kind: 'exponential', meanMs: 10 });
    expect(mean(values)).toBeCloseTo(10, 0);
    expect(quantile(values, 0.5)).toBeCloseTo(10 * Math.LN2, 0);
  });

  it('normal: its mean and its spread, and never below zero', () => {
    const values = sorted({ kind: 'normal', meanMs: 100, sdMs: 10 });
    expect(mean(values)).toBeCloseTo(100, 0);
    expect(quantile(values, 0.8413)).toBeCloseTo(110, 0);
    expect(sorted({ kind: 'normal', meanMs: 1, sdMs: 10 })[0]).toBe(0);
  });

  it('lognormal: its median, and σ octaves of e', () => {
    const values = sorted({ kind: 'lognormal', medianMs: 4, sigma: 0.5 });
    expect(quantile(values, 0.5)).toBeCloseTo(4, 1);
    expect(quantile(values, 0.8413)).toBeCloseTo(4 * Math.exp(0.5), 1);
  });

  it('Pareto: its least, and its tail', () => {
    const values = sorted({ kind: 'pareto', leastMs: 2, shape: 1.5 });
    expect(values[0]).toBeGreaterThanOrEqual(2);
    expect(quantile(values, 0.99)).toBeGreaterThan(2 * 100 ** (1 / 1.5) * 0.9);
    expect(quantile(values, 0.99)).toBeLessThan(2 * 100 ** (1 / 1.5) * 1.1);
  });

  it('constant: itself', () => {
    expect(samplerOf({ kind: 'constant', ms: 5 }, randomOf(1, ''))()).toBe(5);
  });
});
