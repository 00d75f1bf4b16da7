// What all backends of a route do alike is the protocol, the client or something they
// share: it moves no slot, isolates nobody, and closes no valve.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import { history, ids, run, slots, type Tick } from './arbitrary.js';
import { idle, inputsOf, routeOf, World } from './world.js';
import { freshState, step } from '../../src/lib/field/step.js';

/** Each backend has what the first one has, listed in an order of its own. */
function alike({ backends, ...tick }: Tick): Tick {
  const [first] = backends;
  if (first === undefined) throw new Error('a tick has backends');
  const turned = <T>(list: readonly T[], by: number): T[] => [
    ...list.slice(by % Math.max(1, list.length)),
    ...list.slice(0, by % Math.max(1, list.length)),
  ];
  return {
    ...tick,
    backends: backends.map((_, i) => ({
      ...first,
      firstByte: first.firstByte === null ? null : turned(first.firstByte, i),
      clients: turned(first.clients, i),
    })),
  };
}

describe('backends that are alike, whatever they do', () => {
  it('keep their slots, and none of them is isolated or called degraded', () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 7 }), (ticks, count) => {
        const dealt = Math.floor(slots / count);
        for (const { field } of run(ticks.map(alike), ids.slice(0, count)).results) {
          for (const { slots: now, state } of field.routes[0]?.backends ?? []) {
            expect(state).toBe('healthy');
            expect(now - dealt === 0 || now - dealt === 1).toBe(true);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('are refused nobody, unless capacity is missing', () => {
    fc.assert(
      fc.property(history, (ticks) => {
        for (const { field } of run(ticks.map(alike), ids).results) {
          const { mode, cause } = field.routes[0]?.valve ?? {};
          if (mode === 'normal') continue;
          expect(mode).toBe('soft');
          expect(cause === null || cause?.kind === 'capacity').toBe(true);
        }
      }),
    );
  });

  it.each(['refusing', 'hung'] as const)('that turn %s together are all left in', (behaviour) => {
    for (const count of [1, 2, 3, 10]) {
      const world = new World({ ids: ids.concat(['h', 'i', 'j']).slice(0, count), dials: true });
      world.seconds(20);
      const before = new Map(world.owned);
      for (const id of world.ids) world.behaviours.set(id, behaviour);
      world.seconds(30);
      // Of two that hang the one that is found out first stays out: it has no worse peer.
      if (behaviour === 'refusing' || count !== 2) {
        expect(world.route.backends.every(({ state }) => state === 'healthy')).toBe(true);
        expect(world.owned).toEqual(before);
      }
      expect(world.route.valve.mode).toBe('normal');
      for (const id of world.ids) world.behaviours.set(id, 'healthy');
      world.seconds(30);
      for (const id of world.ids) expect(world.share(id)).toBeGreaterThan(0.85);
      expect(world.route.regime).toBe('laminar');
    }
  });

  it.each([
    ['errors', { connects: 10, failures: 10, consecutiveFailures: 10 }, { connects: 10 }],
    [
      'errors',
      { connects: 10, failures: 10, consecutiveFailures: 10 },
      { connects: 10, served: 9 },
    ],
  ])(
    'are admitted again at once by the traffic that they had all the same: %s',
    (cause, bad, good) => {
      const route = (more: object) =>
        routeOf(['a', 'b', 'c', 'd'].map((id) => ({ ...idle(id, 16), picks: 10, ...more })));
      let { state } = step(freshState, inputsOf([route({ connects: 10, served: 10 })]), knobs);
      const failing = step(state, inputsOf([route(bad)]), knobs);
      ({ state } = failing);
      const judged = failing.field.routes[0]?.backends ?? [];
      expect(judged.map(({ memory: { circuit } }) => circuit)).toMatchObject(
        ['a', 'b', 'c', 'd'].map(() => ({ kind: 'isolated', cause })),
      );
      expect(judged.map(({ state: stands, slots: now }) => [stands, now])).toEqual(
        judged.map(() => ['healthy', 16]),
      );
      const well = step(state, inputsOf([route(good)]), knobs).field.routes[0]?.backends ?? [];
      expect(well.map(({ memory: { circuit }, slots: now }) => [circuit.kind, now])).toEqual(
        judged.map(() => ['admitted', 16]),
      );
    },
  );
});

describe('an odd one among few numbers', () => {
  it('moves nothing: a ratio of two numbers near zero says nothing', () => {
    fc.assert(
      fc.property(
        fc.record({
          openMean: fc.double({ min: 0, max: 3, noNaN: true }),
          working: fc.constantFrom(0, 1, 2),
          connects: fc.constantFrom(0, 1),
        }),
        (odd) => {
          let state = freshState;
          for (let i = 0; i < 150; i++) {
            const backends = ['a', 'b', 'c', 'd'].map((id) => ({
              ...idle(id, 16),
              ...(id === 'd' ? { ...odd, picks: odd.connects } : { openMean: 1e-4 }),
            }));
            const made = step(state, inputsOf([routeOf(backends)]), knobs);
            ({ state } = made);
            expect(made.field.routes[0]?.backends.map(({ slots: now }) => now)).toEqual([
              16, 16, 16, 16,
            ]);
          }
        },
      ),
    );
  });
});

describe('latency', () => {
  const modes = (slowMs: number) => (random: () => number) => (random() < 0.17 ? slowMs : 4);

  it.each([
    ['of two kinds of request, 17 % of which take 8 s', modes(8_000)],
    ['of a minute by design', () => 60_000],
    ['between a millisecond and a minute', (random: () => number) => 60_000 ** random()],
  ])('%s moves nothing', (_, serviceMs) => {
    for (const requestsPerSecond of [2, 20, 200]) {
      for (const seed of [1, 2, 3]) {
        const world = new World({ ids: ids.slice(0, 4), requestsPerSecond, serviceMs, seed });
        // Until each kind of request has been seen.
        world.seconds(60);
        world.reset();
        let least = 1;
        for (let i = 0; i < 900; i++) {
          world.tick();
          least = Math.min(least, ...world.ids.map((id) => world.share(id)));
          expect(world.route.valve.mode).toBe('normal');
        }
        const kinds = new Set(world.reasons.map(({ cause }) => cause.kind));
        expect(kinds, `${requestsPerSecond} a second, seed ${seed}`).not.toContain('isolation');
        // A slot of sixteen is what chance may move.
        expect(least).toBeGreaterThanOrEqual(14 / 16);
      }
    }
  });

  it('that is quicker than the peers’ earns nothing', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 1, noNaN: true }), (slower) => {
        const world = new World({ ids: ids.slice(0, 3) });
        world.seconds(10);
        const before = new Map(world.owned);
        world.behaviours.set('b', { slower });
        world.seconds(20);
        expect(world.backend('b').pressure.latency).toBe(1);
        expect(world.owned).toEqual(before);
      }),
      { numRuns: 20 },
    );
  });
});
