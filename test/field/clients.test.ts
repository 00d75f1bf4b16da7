// Several clients: what one of them sees decides against a backend only as far as no other
// client contradicts it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import { freshState, step } from '../../src/lib/field/step.js';
import type { BackendSignals, ClientSignals } from '../../src/lib/field/types.js';
import { normalPressure } from '../../src/lib/field/pressure.js';
import { idle, inputsOf, routeOf, World } from './world.js';

const ids = ['a', 'b', 'c', 'd'];
const usualUs = 4_000;

/** What one client may do to one backend in a tick, or make believe that it met. */
const mischief = fc.record({
  failures: fc.nat(50),
  unserved: fc.nat(50),
  dropped: fc.nat(50),
  waiting: fc.nat(50),
  lateAnswers: fc.nat(50),
  lateMs: fc.integer({ min: 1, max: 60_000 }),
  working: fc.nat(500),
  dial: fc.constantFrom(null, 'open' as const),
});
type Mischief = typeof mischief extends fc.Arbitrary<infer T> ? T : never;

/** A client that does `good` requests at this backend, all of which end well. */
function honest(lane: number, good: number): ClientSignals {
  return {
    lane,
    connects: good,
    failures: 0,
    answers: good,
    logSum: good * Math.log2(usualUs),
    unserved: 0,
    waiting: 0,
    working: 0,
  };
}

function mixed(id: string, slots: number, good: number, bad: Mischief | null): BackendSignals {
  const {
    failures = 0,
    unserved = 0,
    waiting = 0,
    lateAnswers = 0,
    lateMs = 1,
    working = 0,
  } = bad ?? {};
  const first: ClientSignals = {
    ...honest(0, 0),
    connects: failures + lateAnswers + unserved,
    failures,
    answers: lateAnswers,
    logSum: lateAnswers * Math.log2(lateMs * 1000),
    unserved,
    waiting,
    working: Math.max(waiting, working),
  };
  const connects = good + first.connects;
  return {
    ...idle(id, slots),
    picks: connects,
    connects,
    failures,
    served: good + lateAnswers,
    unserved,
    dropped: Math.min(unserved, bad?.dropped ?? 0),
    consecutiveFailures: failures,
    accusers: failures > 0 ? 1 : 0,
    firstByte: [
      { us: usualUs, count: good },
      ...(lateAnswers > 0 ? [{ us: lateMs * 1000, count: lateAnswers }] : []),
    ],
    waiting: { count: waiting, ageMs: lateMs, answeredSince: false },
    working: first.working,
    clients: bad === null ? [honest(1, good)] : [first, honest(1, good)],
    dial: failures > 0 ? (bad?.dial ?? null) : null,
  };
}

describe('a client that accuses a backend', () => {
  it('neither isolates it nor bends its pressure while another client is served well there', () => {
    fc.assert(
      fc.property(
        fc.array(mischief, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 20 }),
        (all, good) => {
          let state = freshState;
          let owned = new Map(ids.map((id) => [id, 16]));
          const tick = (bad: Mischief | null) => {
            const backends = ids.map((id) =>
              mixed(id, owned.get(id) ?? 0, good, id === 'c' ? bad : null),
            );
            const made = step(state, inputsOf([routeOf(backends, { clients: 2 })]), knobs);
            ({ state } = made);
            const route = made.field.routes[0];
            owned = new Map(route?.backends.map(({ id, slots }) => [id, slots]));
            return route;
          };
          // Both clients are known: the first one dials as the second does.
          const none = { ...{ failures: 0, unserved: 0, dropped: 0, waiting: 0, working: 0 } };
          for (let i = 0; i < 50; i++) {
            tick({ ...none, lateAnswers: good, lateMs: usualUs / 1000, dial: null });
          }
          for (const bad of all) {
            const route = tick(bad);
            expect(route?.backends.map(({ state: stands }) => stands)).toEqual(
              ids.map(() => 'healthy'),
            );
            for (const { pressure } of route?.backends ?? []) {
              expect(pressure.total).toBeLessThan(normalPressure(knobs) * 1.01);
            }
            expect([...owned.values()]).toEqual([16, 16, 16, 16]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is believed when the other client meets the same', () => {
    for (const kind of ['refusing', 'hung'] as const) {
      const world = new World({ ids, clients: 2, patienceMs: 60_000 });
      world.seconds(10);
      world.behaviours.set('c', kind);
      world.seconds(2);
      expect(world.backend('c').state).toBe('isolated');
    }
  });

  it.each([100, 20, 10])('is not believed at %s requests a second if it alone meets it', (rate) => {
    for (const kind of ['refusing', 'hung', { slower: 20 }] as const) {
      let begun = false;
      const world = new World({
        ids,
        clients: 2,
        requestsPerSecond: rate,
        dials: true,
        meets: (id, client) => (begun && client === 0 && id === 'c' ? kind : undefined),
      });
      world.seconds(60);
      begun = true;
      for (let i = 0; i < 300; i++) {
        world.tick();
        expect(world.backend('c').state).toBe('healthy');
      }
      for (const id of ids) expect(world.share(id)).toBe(1);
    }
  });

  it('is believed by the agent’s own connect, when that fails too', () => {
    const bad = {
      ...idle('c', 16),
      ...{ picks: 6, connects: 6, failures: 2, served: 4, accusers: 1 },
      firstByte: [{ us: usualUs, count: 4 }],
    };
    const circuitOf = (dial: 'open' | 'closed' | null, other = 4) => {
      let { state } = step(freshState, inputsOf([routeOf([])]), knobs);
      const backends = (c: BackendSignals) =>
        ids.map((id) => (id === 'c' ? c : mixed(id, 16, 5, null)));
      for (let i = 0; i < 50; i++) {
        const route = routeOf(backends(mixed('c', 16, 5, null)), { clients: 2 });
        ({ state } = step(state, inputsOf([route]), knobs));
      }
      const accused: BackendSignals = {
        ...bad,
        dial,
        consecutiveFailures: 2,
        clients: [{ ...honest(0, 0), connects: 2, failures: 2 }, honest(1, other)],
      };
      ({ state } = step(state, inputsOf([routeOf(backends(accused), { clients: 2 })]), knobs));
      const later = { ...idle('c', 16), dial, consecutiveFailures: 2, accusers: 1 };
      const route = routeOf(backends(later), { clients: 2 });
      return step(state, inputsOf([route]), knobs).field.routes[0]?.backends[2]?.memory.circuit;
    };
    expect(circuitOf('closed')).toMatchObject({ kind: 'isolated', cause: 'errors' });
    expect(circuitOf('open')).toMatchObject({ kind: 'admitted' });
    expect(circuitOf(null)).toMatchObject({ kind: 'admitted' });
    // Where no client contradicts, the agent's connect alone does.
    expect(circuitOf('open', 0)).toMatchObject({ kind: 'admitted' });
    expect(circuitOf(null, 0)).toMatchObject({ kind: 'isolated' });
  });
});
