// What closes a valve: capacity that is missing. Failures, latency or silence alone do not,
// for to admit less would help against none of them.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import { freshState, step } from '../../src/lib/field/step.js';
import type { BackendSignals, RouteField } from '../../src/lib/field/types.js';
import { idle, inputsOf, routeOf } from './world.js';

const ids = ['a', 'b', 'c'];

/** Runs the law over ticks of equal backends; what each one did in a tick is `of`. */
function run(ticks: number, of: (tick: number, id: string) => Partial<BackendSignals>) {
  let state = freshState;
  const fields: RouteField[] = [];
  for (let i = 0; i < ticks; i++) {
    const backends = ids.map((id) => ({ ...idle(id, id === 'a' ? 22 : 21), ...of(i, id) }));
    const made = step(state, inputsOf([routeOf(backends)]), knobs);
    ({ state } = made);
    fields.push(...made.field.routes);
  }
  return fields;
}

/** A tick in which `count` requests came and so many of them had no answer. */
function load(count: number, us: number, unserved = 0): Partial<BackendSignals> {
  const served = count - unserved;
  return {
    picks: count,
    connects: count,
    served,
    unserved,
    firstByte: served > 0 ? [{ us, count: served }] : [],
  };
}

const anyUs = fc.double({ min: 32, max: 3e8, noNaN: true });

describe('the valve', () => {
  it('stays open while all that is asked for is answered, however late', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ count: fc.nat(500), us: anyUs }), { minLength: 1, maxLength: 100 }),
        (ticks) => {
          const after = run(ticks.length + 50, (i) => {
            const { count, us } = ticks[i - 50] ?? { count: 10, us: 4000 };
            return load(count, us);
          });
          expect(after.every(({ valve }) => valve.mode === 'normal')).toBe(true);
        },
      ),
    );
  });

  it('stays open whatever fails or stays unserved, while answers are in time', () => {
    const wrong = fc.record({ failures: fc.nat(20), unserved: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(wrong, { minLength: 1, maxLength: 100 }), (ticks) => {
        const after = run(ticks.length + 50, (i) => {
          const { failures, unserved } = ticks[i - 50] ?? { failures: 0, unserved: 0 };
          const connects = 20 + failures + unserved;
          const tick = { ...load(20, 4000), picks: connects, connects, failures, unserved };
          return { ...tick, consecutiveFailures: failures };
        });
        expect(after.every(({ valve }) => valve.mode === 'normal')).toBe(true);
      }),
    );
  });

  it.each([
    ['that refuse all', { failures: 20, consecutiveFailures: 20 }],
    ['that answer nothing', { unserved: 20 }],
    ['that drop all', { unserved: 20, dropped: 20 }],
  ])('stays open over backends %s', (_, wrong) => {
    const after = run(300, (i) =>
      i < 50 ? load(20, 4000) : { picks: 20, connects: 20, ...wrong },
    );
    expect(after.every(({ valve }) => valve.mode === 'normal')).toBe(true);
  });

  it('closes for a retry storm: more is asked for, half is not answered, the rest is late', () => {
    const after = run(150, (i) => (i < 50 ? load(20, 4000) : load(60, 900_000, 30)));
    const closed = after.findIndex(({ valve }) => valve.mode === 'soft');
    // Late for a second, and no sooner.
    expect(closed).toBeGreaterThan(54);
    expect(closed).toBeLessThan(62);
    expect(after[closed]).toMatchObject({
      valve: { cause: { kind: 'capacity' } },
      scaleHint: 'capacity',
    });
    expect(after.at(-1)?.backends.every(({ state }) => state === 'healthy')).toBe(true);
  });

  it('does not close for late answers where as many stay unserved as ever', () => {
    const after = run(700, (i) => (i < 600 ? load(20, 4000, 10) : load(60, 900_000, 30)));
    expect(after.every(({ valve }) => valve.mode === 'normal')).toBe(true);
  });

  it('asks for another replica where a monopoly is short of capacity', () => {
    let state = freshState;
    let hint: RouteField['scaleHint'] = null;
    for (let i = 0; i < 100; i++) {
      const did = i < 50 ? load(20, 4000) : load(60, 900_000, 30);
      const made = step(state, inputsOf([routeOf([{ ...idle('a', 64), ...did }])]), knobs);
      ({ state } = made);
      hint = made.field.routes[0]?.scaleHint ?? null;
    }
    expect(hint).toBe('monopoly');
  });
});
