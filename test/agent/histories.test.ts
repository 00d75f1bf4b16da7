// Thousands of random histories of a node, each in memory: whatever comes, goes, moves or
// scales, and wherever an agent is killed, no connect reaches another service's backend, and
// two ticks after the agent knows all, every address is served as it should be.
//
// NITY_PROPERTY_RUNS and NITY_PROPERTY_SEED ask for more of them, or for others;
// `npm run soak:histories` plays them for hours.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { History } from './history.js';
import { keptHistories } from './kept-histories.js';
import { step } from './steps.js';

const runs = Number(process.env['NITY_PROPERTY_RUNS'] ?? 2_000);
const seed = Number(process.env['NITY_PROPERTY_SEED'] ?? 20_260_101);

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
      { numRuns: runs, seed },
    );
  }, 600_000);

  it.each(Object.entries(keptHistories))('%s', (_, steps) => {
    for (const glances of [false, true]) {
      expect(() => {
        new History(glances).play(steps);
      }).not.toThrow();
    }
  });
});
