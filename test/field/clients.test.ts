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
    interface Case {
      readonly dial: 'open' | 'closed' | null;
      /** Good connects of the other client since the accusation began, and ticks after them. */
      readonly good: number;
      readonly ticks?: number;
      /** What the agent's own connect to a peer meets. */
      readonly reaches?: 'open' | 'closed';
    }
    const circuitOf = ({ dial, good, ticks = 1, reaches = 'open' }: Case) => {
      let { state } = step(freshState, inputsOf([routeOf([])]), knobs);
      const tick = (c: BackendSignals) => {
        const backends = ids.map((id) => {
          if (id === 'c') return c;
          return { ...mixed(id, 16, 5, null), dial: id === 'a' ? reaches : null };
        });
        const made = step(state, inputsOf([routeOf(backends, { clients: 2 })]), knobs);
        ({ state } = made);
        return made.field.routes[0]?.backends[2]?.memory.circuit;
      };
      for (let i = 0; i < 50; i++) tick(mixed('c', 16, 5, null));
      let circuit = tick({
        ...mixed('c', 16, good, null),
        ...{ picks: good + 2, connects: good + 2, failures: 2, consecutiveFailures: 2 },
        accusers: 1,
        dial,
        clients: [{ ...honest(0, 0), connects: 2, failures: 2 }, honest(1, good)],
      });
      for (let i = 0; i < ticks; i++) {
        circuit = tick({ ...idle('c', 16), dial, consecutiveFailures: 2, accusers: 1 });
      }
      return circuit;
    };
    // The other client is yet to be heard: the agent's own connect spares the wait for it.
    expect(circuitOf({ dial: 'closed', good: 2 })).toMatchObject({
      kind: 'isolated',
      cause: 'errors',
    });
    expect(circuitOf({ dial: 'open', good: 2 })).toMatchObject({ kind: 'admitted' });
    expect(circuitOf({ dial: null, good: 2 })).toMatchObject({ kind: 'admitted' });
    // An agent that reaches none of them says nothing of this one.
    expect(circuitOf({ dial: 'closed', good: 2, reaches: 'closed' })).toMatchObject({
      kind: 'admitted',
    });
    // Nor does it outweigh a client that is served well.
    expect(circuitOf({ dial: 'closed', good: 4 })).toMatchObject({ kind: 'admitted' });
    // Where no client contradicts, the agent's connect alone does.
    expect(circuitOf({ dial: 'open', good: 0, ticks: 3 })).toMatchObject({ kind: 'admitted' });
    expect(circuitOf({ dial: null, good: 0, ticks: 3 })).toMatchObject({ kind: 'isolated' });
  });
});
