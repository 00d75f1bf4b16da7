// The scenarios that ship, whole, with fixed seeds: every limit and every invariant.
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { failuresOf, runSeed } from '../../src/lib/harness/compare.js';
import { shipped } from './worlds.js';

const names = readdirSync('test/scenarios')
  .filter((file) => !file.startsWith('ordinary-'))
  .map((file) => file.replace('.yaml', ''));

it('are the twelve of the RFC', () => {
  expect(names).toHaveLength(12);
});

describe.each(names)('%s', (name) => {
  it.each(name === 'churn' ? [1] : [1, 2])(
    'keeps its limits and breaks no invariant, seed %i',
    (seed) => {
      const ours = runSeed(shipped(name), ['nity'], seed).find(({ policy }) => policy === 'nity');
      expect(ours === undefined ? ['it did not run'] : failuresOf(ours)).toEqual([]);
    },
    120_000,
  );
});

describe('what was published', () => {
  /** Of requests that were answered within a second. */
  const within = (name: 'round-robin' | 'least-connections' | 'peak-ewma') => {
    const run = runSeed(shipped('slow-replica'), [name], 1).find(({ policy }) => policy === name);
    return run?.limits.find(({ name: limit }) => limit.startsWith('success'))?.value ?? NaN;
  };

  it('of the slow replica comes out of the simulation too, within a point', () => {
    expect(Math.abs(within('round-robin') - 0.95)).toBeLessThan(0.01);
    expect(Math.abs(within('least-connections') - 0.99)).toBeLessThan(0.01);
    expect(Math.abs(within('peak-ewma') - 0.999)).toBeLessThan(0.01);
  });

  it('of retry storms too: round robin stays down, once its cause has gone', () => {
    const run = runSeed(shipped('retry-storm'), ['round-robin'], 1).find(
      ({ policy }) => policy === 'round-robin',
    );
    expect(run?.limits[0]?.value).toBeLessThan(0.5);
  });
});
