// The control law for any signals and in the long run: what must hold whatever
// the backends do.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { history, ids, run, slots } from './arbitrary.js';
import { lognormal, seeded, World, type Behaviour } from './world.js';

/** Every number that can be reached from `value`. */
function numbers(value: unknown): number[] {
  if (typeof value === 'number') return [value];
  if (value instanceof Map) return [...value.values()].flatMap(numbers);
  if (value !== null && typeof value === 'object') return Object.values(value).flatMap(numbers);
  return [];
}

describe('the control law, for any signals', () => {
  it('keeps Σ slots, gives each backend one at least, and yields no NaN and no infinity', () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 7 }), (ticks, count) => {
        const { states, results } = run(ticks, ids.slice(0, count));
        for (const { field } of results) {
          const backends = field.routes[0]?.backends ?? [];
          expect(backends.reduce((sum, one) => sum + one.slots, 0)).toBe(slots);
          for (const one of backends) {
            expect(Number.isInteger(one.slots) && one.slots >= 1).toBe(true);
          }
          expect(numbers(field).every(Number.isFinite)).toBe(true);
        }
        expect(numbers(states.at(-1)).every(Number.isFinite)).toBe(true);
      }),
    );
  });

  it('moves no more than viscosity allows, except for isolation', () => {
    fc.assert(
      fc.property(history, (ticks) => {
        for (const { field } of run(ticks, ids).results.slice(1)) {
          const route = field.routes[0];
          if (route?.backends.some(({ state }) => state === 'isolated') === true) continue;
          for (const { slots: now, before } of route?.backends ?? []) {
            expect(Math.abs(now - before)).toBeLessThanOrEqual(route?.motion.limit ?? 0);
          }
        }
      }),
    );
  });

  it('isolates at most half of a route, so somebody is always admissible', () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 7 }), (ticks, count) => {
        for (const { field } of run(ticks, ids.slice(0, count)).results) {
          const out = field.routes[0]?.backends.filter(({ state }) => state === 'isolated') ?? [];
          expect(out.length * 2).toBeLessThanOrEqual(count);
        }
      }),
    );
  });

  it('does not care in which order backends are listed', () => {
    fc.assert(
      fc.property(history, (ticks) => {
        const forward = run(ticks, ids).results.at(-1)?.field.routes[0];
        const backward = run(ticks, [...ids].reverse()).results.at(-1)?.field.routes[0];
        for (const { id, slots: owned } of forward?.backends ?? []) {
          expect(backward?.backends.find((one) => one.id === id)?.slots).toBe(owned);
        }
      }),
    );
  });

  it('gives the same bits for the same inputs', () => {
    fc.assert(
      fc.property(history, (ticks) => {
        expect(run(ticks, ids)).toEqual(run(ticks, ids));
      }),
      { numRuns: 30 },
    );
  });

  it('explains each change of slots, of admission and of regime, once', () => {
    fc.assert(
      fc.property(history, (ticks) => {
        let regime = 'laminar';
        let mode = 'normal';
        for (const { field, reasons } of run(ticks, ids).results) {
          const route = field.routes[0];
          const moved = route?.backends.filter(({ slots: now, before }) => now !== before) ?? [];
          const told = reasons.flatMap(({ change }) => (change.of === 'slots' ? [change] : []));
          expect(told.map(({ backend, from, to }) => [backend, from, to])).toEqual(
            moved.map(({ id, before, slots: now }) => [id, before, now]),
          );
          const count = (of: string) => reasons.filter(({ change }) => change.of === of).length;
          expect(count('regime')).toBe(route?.regime === regime ? 0 : 1);
          expect(count('admission')).toBe(route?.valve.mode === mode ? 0 : 1);
          regime = route?.regime ?? regime;
          mode = route?.valve.mode ?? mode;
        }
      }),
    );
  });

  it('never lets the worse of two equal peers gain on the better', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 100, noNaN: true }), (slower) => {
        const world = new World({ ids: ['a', 'b', 'c'] });
        world.seconds(6);
        world.behaviours.set('b', { slower });
        for (let i = 0; i < 25; i++) {
          world.tick();
          expect(world.owned.get('b')).toBeLessThanOrEqual((world.owned.get('a') ?? 0) + 1);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('the control law, in the long run', () => {
  const behaviours: readonly Behaviour[] = [
    'healthy',
    'refusing',
    'hung',
    { slower: 1.5 },
    { slower: 5 },
    { slower: 30 },
  ];

  it('comes to fair shares within a minute of the end of any faults, silence among them', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seeded(seed);
      const world = new World({ seed, serviceMs: lognormal(4, 0.5) });
      world.seconds(5);
      for (let fault = 0; fault < 6; fault++) {
        for (const id of world.ids) {
          const chosen = behaviours[Math.floor(random() * behaviours.length)];
          world.behaviours.set(id, random() < 0.3 && chosen !== undefined ? chosen : 'healthy');
        }
        world.seconds(4 + random() * 4);
      }
      for (const id of world.ids) world.behaviours.set(id, 'healthy');
      // What was silent is tried by a client's request, and so it waits for longer.
      world.seconds(60);
      for (const id of world.ids) {
        expect(world.share(id), `seed ${seed}, backend ${id}`).toBeGreaterThan(0.85);
        expect(world.share(id), `seed ${seed}, backend ${id}`).toBeLessThan(1.15);
      }
      expect(world.route.backends.every(({ state }) => state === 'healthy')).toBe(true);
    }
  });

  it('reverses no backend more than once a minute under noise alone', () => {
    for (let seed = 1; seed <= 4; seed++) {
      const world = new World({ seed, serviceMs: lognormal(4, 1) });
      world.seconds(10);
      const direction = new Map<string, number>();
      const reversals = new Map<string, number>();
      for (let i = 0; i < 1500; i++) {
        world.tick();
        for (const { id, slots: now, before } of world.route.backends) {
          const sign = Math.sign(now - before);
          if (sign === 0) continue;
          if (direction.get(id) === -sign) reversals.set(id, (reversals.get(id) ?? 0) + 1);
          direction.set(id, sign);
        }
      }
      // Five minutes.
      expect(Math.max(0, ...reversals.values())).toBeLessThanOrEqual(5);
    }
  });
});
