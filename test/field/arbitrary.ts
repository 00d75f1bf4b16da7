// Any signals that a backend can have, and the law run over them with its slots fed back.
import fc from 'fast-check';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import { freshState, step } from '../../src/lib/field/step.js';
import type { BackendSignals, FieldState, StepResult } from '../../src/lib/field/types.js';
import { idle, inputsOf, routeOf } from './world.js';

export const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
export const slots = 64;

const stall = fc.double({ min: 0, max: 1, noNaN: true });
const reading = fc.oneof(
  fc.record({ kind: fc.constant('read' as const), value: fc.record({ some: stall, full: stall }) }),
  fc.record({ kind: fc.constant('missing' as const), why: fc.constant('no such file') }),
);
/** What lanes say need not agree with what the backend's counters say. */
const lane = fc.record({
  connects: fc.nat(1_000),
  failures: fc.nat(1_000),
  answers: fc.nat(1_000),
  logSum: fc.double({ min: 0, max: 1e6, noNaN: true }),
  unserved: fc.nat(1_000),
  waiting: fc.nat(100),
  working: fc.nat(1_000),
});
const lanes = fc
  .array(lane, { maxLength: 4 })
  .map((all) => all.map((one, i) => ({ lane: i, ...one })));
const signals = fc.record({
  picks: fc.nat(10_000),
  connects: fc.nat(10_000),
  failures: fc.nat(10_000),
  served: fc.nat(10_000),
  unserved: fc.nat(10_000),
  dropped: fc.nat(10_000),
  consecutiveFailures: fc.nat(5),
  accusers: fc.nat(2),
  openMean: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })),
  connectUs: fc.option(fc.double({ min: 0, max: 1e9, noNaN: true })),
  retransmits: fc.nat(100),
  firstByte: fc.option(
    fc.array(
      fc.record({ us: fc.double({ min: 32, max: 1e10, noNaN: true }), count: fc.nat(1000) }),
      {
        maxLength: 5,
      },
    ),
  ),
  waiting: fc.option(
    fc.record({
      count: fc.nat(100),
      ageMs: fc.double({ min: 0, max: 1e9, noNaN: true }),
      answeredSince: fc.boolean(),
    }),
  ),
  working: fc.option(fc.nat(10_000)),
  clients: lanes,
  dial: fc.constantFrom(null, 'open' as const, 'closed' as const),
  stalls: fc.option(fc.record({ cpu: reading, memory: reading, io: reading })),
  app: fc.option(
    fc.record({
      latencyP95Ms: fc.option(fc.double({ min: 0, max: 3.6e6, noNaN: true })),
      errorRate: fc.option(stall),
      queueDepth: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })),
    }),
  ),
});
export const tick = fc.record({
  dtMs: fc.double({ min: 1, max: 60_000, noNaN: true }),
  refused: fc.nat(10_000),
  clients: fc.integer({ min: 1, max: 4 }),
  backends: fc.array(signals, { minLength: 7, maxLength: 7 }),
});
export const history = fc.array(tick, { minLength: 1, maxLength: 25 });

export type Tick = typeof tick extends fc.Arbitrary<infer T> ? T : never;

export interface Run {
  readonly states: FieldState[];
  readonly results: StepResult[];
}

/** Runs the law closed over the slots: what it decides is what it finds. */
export function run(ticks: readonly Tick[], order: readonly string[]): Run {
  let state = freshState;
  let owned = new Map(order.map((id) => [id, 0]));
  const made: Run = { states: [], results: [] };
  for (const { dtMs, refused, clients, backends } of ticks) {
    const route = routeOf(
      order.map((id): BackendSignals => ({
        ...idle(id, owned.get(id)),
        ...backends[ids.indexOf(id)],
      })),
      { slots, refused, clients },
    );
    const result = step(state, inputsOf([route], { dtMs }), knobs);
    ({ state } = result);
    owned = new Map(result.field.routes[0]?.backends.map((one) => [one.id, one.slots]));
    made.states.push(state);
    made.results.push(result);
  }
  return made;
}
