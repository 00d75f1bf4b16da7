// Thousands of random histories of a node, each in memory: whatever comes, goes, moves or
// scales, and wherever an agent is killed, no connect reaches another service's backend, and
// two ticks after the agent knows all, every address is served as it should be.
//
// NITY_PROPERTY_RUNS and NITY_PROPERTY_SEED ask for more of them, or for others;
// `npm run soak:histories` plays them for hours.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { backendsMax, History, services, vips, type Step } from './history.js';
import { keptHistories } from './kept-histories.js';

const runs = Number(process.env['NITY_PROPERTY_RUNS'] ?? 2_000);
const seed = Number(process.env['NITY_PROPERTY_SEED'] ?? 20_260_101);

const service = fc.nat(services - 1);
const vip = fc.nat(vips - 1);
const backends = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 7 }) },
  { weight: 2, arbitrary: fc.nat(2 ** backendsMax - 1) },
);
const only = <S extends Step['do']>(name: S) => fc.constant(name);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: only('scale'), service, backends }) },
  { weight: 2, arbitrary: fc.record({ do: only('remove'), service }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: only('move'), vip, to: fc.option(service, { freq: 5 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: only('swap'), a: vip, b: vip }) },
  { weight: 2, arbitrary: fc.record({ do: only('rename'), service, to: service }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: only('knobs'),
      service,
      gear: fc.constantFrom('auto' as const, 'single' as const, 'twin' as const),
      affine: fc.boolean(),
    }),
  },
  { weight: 7, arbitrary: fc.record({ do: only('serve') }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: only('part'), services: fc.nat(2 ** services - 1) }),
  },
  { weight: 8, arbitrary: fc.record({ do: only('tick'), times: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: only('busy') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: only('pass'),
      ms: fc.constantFrom(100, 1_000, 2_500, 5_000, 20_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: only('restart') }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: only('kill'), afterWrites: fc.nat(120) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: only('flip'),
      holdMs: fc.constantFrom(0, 500, 5_000),
      force: fc.boolean(),
    }),
  },
);

describe('whatever happens to a node', () => {
  it('every connect reaches the right service, and each address is served in two ticks', () => {
    process.stdout.write(`${runs} histories, NITY_PROPERTY_SEED=${seed}\n`);
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }),
        fc.nat(3),
        (steps, looks) => {
          new History(looks === 0).play(steps);
        },
      ),
      { numRuns: runs, seed, endOnFailure: false },
    );
  });

  it.each(Object.entries(keptHistories))('%s', (_, steps) => {
    for (const glances of [false, true]) {
      expect(() => {
        new History(glances).play(steps);
      }).not.toThrow();
    }
  });
});
