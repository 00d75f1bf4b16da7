// Ordinary traffic, with fixed seeds: nobody is refused and no healthy backend is starved,
// whatever protocol the clients speak.
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { failuresOf, runSeed } from '../../src/lib/harness/compare.js';
import type { PolicyName } from '../../src/lib/harness/balancer.js';
import { shipped } from './worlds.js';

const names = readdirSync('test/scenarios')
  .filter((file) => file.startsWith('ordinary-'))
  .map((file) => file.replace('.yaml', ''));
/** A backend of these is worse than its peers: what a policy that does not look loses there. */
const faulty = /^ordinary-(hung|refusing)-\d+$/;
const healthy = names.filter((name) => !faulty.test(name));

function runOf(name: string, policy: PolicyName, seed: number) {
  const run = runSeed(shipped(name), [policy], seed).find((each) => each.policy === policy);
  if (run === undefined) throw new Error(`${name} was not run with ${policy}`);
  return run;
}

it('are many kinds, and each demands that nobody is refused', () => {
  expect(names.length).toBeGreaterThanOrEqual(33);
  for (const name of names) {
    const { limits } = shipped(name);
    expect(
      limits.some(
        ({ measure, policies }) => measure === 'refusedGood' && policies.includes('nity'),
      ),
      name,
    ).toBe(true);
  }
});

it('demand a share of each healthy backend, wherever shares can be told', () => {
  // At one connect a second half a minute is too short, and one backend has all of it.
  const without = names.filter((name) =>
    shipped(name).limits.every(({ measure }) => measure !== 'fairShare'),
  );
  expect(without).toEqual(['ordinary-hung-1', 'ordinary-one-backend', 'ordinary-refusing-1']);
});

describe.each(names)('%s', (name) => {
  it.each([1, 2])('harms nobody, seed %i', (seed) => {
    expect(failuresOf(runOf(name, 'nity', seed))).toEqual([]);
  });
});

describe('the limits', () => {
  // So that a limit that nobody could keep is not taken for a fault of ours.
  it.each(healthy)('of %s are kept by a balancer that takes turns', (name) => {
    const missed = runOf(name, 'round-robin', 1).limits.filter(({ pass }) => !pass);
    expect(missed).toEqual([]);
  });

  it('are missed by a balancer that counts what is merely open', () => {
    const shares = runOf('ordinary-idle-pool', 'least-connections', 1).limits.filter(
      ({ pass }) => !pass,
    );
    expect(shares.map(({ name }) => name)).toEqual(['share × fair of all in each 15 s']);
  });

  it('of a faulty backend are missed by a balancer that does not look', () => {
    for (const name of names.filter((each) => faulty.test(each) && !each.endsWith('-1'))) {
      const { limits } = runOf(name, 'round-robin', 1);
      expect(limits.find((limit) => limit.name === 'requests lost')?.pass, name).toBe(false);
    }
  });
});
