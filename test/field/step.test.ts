// The control law as behaviour: what it does about each fault and about noise,
// how it comes back, and what it says when a signal is missing.
import { describe, expect, it } from 'vitest';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import { freshState, step } from '../../src/lib/field/step.js';
import type { BackendSignals } from '../../src/lib/field/types.js';
import { idle, inputsOf, lognormal, pareto, routeOf, World, type WorldOptions } from './world.js';

const causes = (world: World) => new Set(world.reasons.map(({ cause }) => cause.kind));

function warm(options: WorldOptions = {}): World {
  const world = new World(options);
  world.seconds(6);
  world.reset();
  return world;
}

describe('a healthy route', () => {
  it('is dealt out evenly at first, because of churn', () => {
    const world = new World();
    world.tick();
    const counts = [...world.owned.values()];
    expect(world.total()).toBe(128);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    expect(causes(world)).toEqual(new Set(['churn']));
  });

  it('is left alone', () => {
    const world = warm();
    const before = new Map(world.owned);
    world.seconds(60);
    expect(world.owned).toEqual(before);
    expect(world.reasons).toEqual([]);
    expect(world.route).toMatchObject({ regime: 'laminar', gear: 'bounded', scaleHint: null });
    expect(world.route.conductance).toBeCloseTo(1, 1);
  });

  it.each([
    ['lognormal, σ = 1', lognormal(4, 1)],
    ['lognormal, σ = 1.5', lognormal(4, 1.5)],
    ['Pareto, α = 1.5', pareto(3, 1.5)],
  ])('is quiet under heavy tails: %s', (_, serviceMs) => {
    for (const seed of [1, 2, 3]) {
      const world = warm({ serviceMs, seed });
      world.seconds(120);
      expect(world.moved / 600 / world.slots).toBeLessThan(0.005);
      expect(causes(world)).not.toContain('isolation');
    }
  });
});

describe('a backend that refuses', () => {
  it('is isolated in the tick that sees two failures in a row', () => {
    const world = warm();
    world.behaviours.set('c', 'refusing');
    world.tick();
    expect(world.backend('c')).toMatchObject({ state: 'isolated', slots: 1 });
    expect(world.backend('c').memory.circuit).toMatchObject({ cause: 'errors', cooldownMs: 2000 });
    expect(world.reasons).toContainEqual({
      change: { of: 'slots', route: 'r', backend: 'c', from: 13, to: 1, because: 'c' },
      cause: { kind: 'isolation', of: 'errors', cooldownMs: 2000, own: 1, peers: 0 },
    });
    expect(world.route.regime).toBe('transition');
  });

  it('costs its first failures and a drip that doubles, boundedly', () => {
    const world = warm();
    world.behaviours.set('c', 'refusing');
    world.tick();
    world.reset();
    world.seconds(30);
    // After 2 s, and then every 4 s.
    expect(world.lost).toBeLessThanOrEqual(8);
    expect(world.lost).toBeGreaterThanOrEqual(5);
  });

  it('has 90 % of its fair share back within 10 s of its return, and never 1.5 times it', () => {
    const world = warm();
    world.behaviours.set('c', 'refusing');
    world.seconds(20);
    world.behaviours.set('c', 'healthy');
    let most = 0;
    for (let i = 0; i < 50; i++) {
      world.tick();
      most = Math.max(most, world.share('c'));
    }
    expect(world.share('c')).toBeGreaterThanOrEqual(0.9);
    expect(most).toBeLessThan(1.1);
    expect(causes(world)).toContain('recovery');
  });
});

describe('backends of which most were slow from the beginning', () => {
  it('are what is normal, unless the owner of the service says what is', () => {
    const after = (latencyReferenceUs?: number) => {
      const fixed = latencyReferenceUs === undefined ? {} : { latencyReferenceUs };
      const world = new World({ ids: ['a', 'b', 'c'], ...fixed });
      for (const id of ['b', 'c']) world.behaviours.set(id, { slower: 6 });
      world.seconds(30);
      return { slow: world.backend('b').pressure.latency, quick: world.share('a') };
    };
    const learned = after();
    const told = after(4_000);
    expect(learned.slow).toBe(1);
    expect(told.slow).toBeGreaterThan(4);
    expect(told.quick).toBeGreaterThan(learned.quick + 0.2);
  });
});

describe('a backend that turns 20 times slower', () => {
  it('is isolated within 2 s, and nothing but a drip goes to it', () => {
    const world = warm();
    world.behaviours.set('c', { slower: 20 });
    world.seconds(2);
    expect(world.backend('c')).toMatchObject({ state: 'isolated', slots: 1 });
    world.reset();
    world.seconds(10);
    expect((world.sent.get('c') ?? 0) / 2000).toBeLessThan(0.005);
  });

  it('loses slots by pressure when it is but three times slower', () => {
    const world = warm();
    world.behaviours.set('c', { slower: 3 });
    world.seconds(15);
    expect(world.share('c')).toBeLessThan(0.65);
    expect(world.share('c')).toBeGreaterThan(0.2);
    expect(causes(world)).toContain('latency');
    expect(world.backend('c').memory.circuit.kind).toBe('admitted');
  });

  it('keeps its share when all backends do: there is nowhere to go', () => {
    const world = warm();
    // Long enough for what is normal to be settled.
    world.seconds(60);
    for (const id of world.ids) world.behaviours.set(id, { slower: 20 });
    world.seconds(20);
    for (const id of world.ids) expect(world.share(id)).toBeGreaterThan(0.9);
    expect(world.route.backends.every(({ state }) => state !== 'isolated')).toBe(true);
    // All is answered: to refuse anybody would help nobody.
    expect(world.route).toMatchObject({ valve: { mode: 'normal' }, scaleHint: null });
    expect(world.route.regime).toBe('laminar');
  });
});

describe('a backend that accepts and never answers', () => {
  it('is isolated for silence before any client has given up', () => {
    const world = warm();
    world.behaviours.set('c', 'hung');
    world.seconds(0.6);
    expect(world.backend('c').memory.circuit).toMatchObject({ kind: 'isolated', cause: 'silence' });
    expect(world.lost).toBe(0);
    world.seconds(2.4);
    world.reset();
    world.seconds(20);
    expect(world.sent.get('c') ?? 0).toBeLessThanOrEqual(6);
  });

  it('is not called silent for a single request, however late: tails are heavy', () => {
    const world = warm();
    const after = (count: number) => {
      let { state } = world;
      const tick = (did: Partial<BackendSignals>) => {
        const backends = world.ids.map((id) => ({
          ...idle(id, world.owned.get(id)),
          ...(id === 'c' ? did : {}),
        }));
        const made = step(state, inputsOf([routeOf(backends, { slots: world.slots })]), knobs);
        ({ state } = made);
        return made.field.routes[0]?.backends[2]?.memory.circuit;
      };
      // They are sent after its last answer, and nothing comes back for three seconds.
      const sent = { count, ageMs: 100, answeredSince: false };
      tick({ picks: count, connects: count, waiting: sent });
      return tick({ waiting: { ...sent, ageMs: 3000 } });
    };
    expect(after(1)).toMatchObject({ kind: 'admitted' });
    expect(after(2)).toMatchObject({ kind: 'admitted' });
    expect(after(3)).toMatchObject({ kind: 'isolated', cause: 'silence' });
  });

  it('is not called silent where nobody ever answers: the protocol is so', () => {
    const world = new World();
    for (const id of world.ids) world.behaviours.set(id, 'hung');
    world.tick(4);
    expect(causes(world)).toEqual(new Set(['churn']));
  });
});

describe('most of a route', () => {
  it('hung together is systemic: nobody is isolated, and the valve stays open', () => {
    const world = warm();
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) world.behaviours.set(id, 'hung');
    world.seconds(5);
    expect(world.route).toMatchObject({ systemic: true, regime: 'crisis', gear: 'single' });
    expect(world.route.backends.some(({ state }) => state === 'isolated')).toBe(false);
    const counts = [...world.owned.values()];
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2);
    expect(world.route.valve.mode).toBe('normal');
    expect(causes(world)).toContain('systemic');
  });

  it('refusing together is systemic too, but half of the route may stay out: they do no work', () => {
    const world = warm();
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) world.behaviours.set(id, 'refusing');
    world.seconds(2);
    expect(world.route).toMatchObject({ systemic: true, regime: 'crisis' });
    expect(world.route.valve.mode).toBe('normal');
    const out = world.route.backends.filter(({ state }) => state === 'isolated');
    expect(out.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(out.every(({ slots }) => slots === 1)).toBe(true);
  });

  it('coming back is served as before', () => {
    const world = warm();
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) world.behaviours.set(id, 'refusing');
    world.seconds(5);
    for (const id of world.ids) world.behaviours.set(id, 'healthy');
    world.seconds(10);
    for (const id of world.ids) expect(world.share(id)).toBeGreaterThan(0.9);
    world.seconds(10);
    expect(world.route).toMatchObject({ regime: 'laminar', valve: { mode: 'normal' } });
  });

  it('is at most half: the fifth of ten is isolated, the sixth makes it systemic', () => {
    const world = warm();
    for (const id of ['a', 'b', 'c', 'd', 'e']) world.behaviours.set(id, 'refusing');
    world.seconds(1);
    expect(world.route.backends.filter(({ state }) => state === 'isolated')).toHaveLength(5);
    expect(world.route.systemic).toBe(false);
  });
});

describe('a route of one backend, or of none', () => {
  it('keeps every slot with its monopoly, whatever it does', () => {
    const world = warm({ ids: ['only'] });
    world.behaviours.set('only', 'refusing');
    world.seconds(3);
    expect(world.owned.get('only')).toBe(64);
    // Another replica of what refuses would refuse too.
    expect(world.route.scaleHint).toBeNull();
  });

  it('has nothing to say without backends, but that one is wanted', () => {
    const { field, reasons } = step(freshState, inputsOf([routeOf([], { slots: 0 })]), knobs);
    expect(field.routes[0]).toMatchObject({ backends: [], scaleHint: 'empty', regime: 'laminar' });
    expect(reasons).toEqual([]);
  });
});

describe('topology', () => {
  it('what a predecessor left is taken over and moved only by viscosity', () => {
    const backends = [idle('a', 56), idle('b', 8)];
    const { field } = step(freshState, inputsOf([routeOf(backends)]), knobs);
    expect(field.routes[0]?.backends.map(({ slots }) => slots)).toEqual([53, 11]);
  });

  it('a newcomer is let in step by step', () => {
    const backends = [idle('a', 22), idle('b', 21), idle('c', 21), idle('d', 0)];
    const { field } = step(freshState, inputsOf([routeOf(backends)]), knobs);
    expect(field.routes[0]?.backends.map(({ slots }) => slots)).toEqual([21, 21, 21, 1]);
  });
});

describe('a missing signal', () => {
  it('says nothing for or against a backend: no signal at all moves nothing', () => {
    const world = warm();
    const before = new Map(world.owned);
    const blind = world.ids.map((id) => ({
      ...idle(id, before.get(id)),
      firstByte: null,
      waiting: null,
    }));
    let { state } = world;
    for (let i = 0; i < 300; i++) {
      const result = step(state, inputsOf([routeOf(blind, { slots: 128 })]), knobs);
      state = result.state;
      expect(result.reasons).toEqual([]);
    }
  });

  it('without latency, errors still isolate, and what is slow is not seen', () => {
    const world = warm({ measured: false });
    expect(world.backend('a').pressure).toMatchObject({ latency: null, queue: null });
    world.behaviours.set('c', { slower: 10 });
    world.seconds(15);
    expect(world.share('c')).toBeGreaterThan(0.9);
    world.behaviours.set('d', 'refusing');
    world.tick();
    expect(world.backend('d').state).toBe('isolated');
  });

  it('without latency, a probe that connects is a good one', () => {
    const world = warm({ measured: false });
    world.behaviours.set('c', 'refusing');
    world.seconds(5);
    world.behaviours.set('c', 'healthy');
    world.seconds(10);
    expect(world.share('c')).toBeGreaterThan(0.85);
  });

  it('an application’s word stands in for a latency that the kernel does not measure', () => {
    const signals = (id: string, latencyP95Ms: number) => ({
      ...idle(id, 16),
      firstByte: null,
      waiting: null,
      connects: 10,
      app: { latencyP95Ms, errorRate: null, queueDepth: null },
    });
    let state = freshState;
    let field = step(state, inputsOf([routeOf([])]), knobs).field;
    for (let i = 0; i < 200; i++) {
      const slowest = i < 100 ? 4 : 12;
      const backends = [signals('a', 4), signals('b', 4), signals('c', 4), signals('d', slowest)];
      ({ state, field } = step(state, inputsOf([routeOf(backends)]), knobs));
    }
    const [a, , , d] = field.routes[0]?.backends ?? [];
    expect(d?.pressure.total).toBeGreaterThan((a?.pressure.total ?? 0) * 1.3);
    expect(d?.target).toBeLessThan(a?.target ?? 0);
  });

  it('an application’s queue stands in for the requests that the kernel does not count', () => {
    const signals = (id: string, queueDepth: number) => ({
      ...idle(id, 16),
      ...{ firstByte: null, waiting: null, working: null, connects: 10 },
      app: { latencyP95Ms: null, errorRate: null, queueDepth },
    });
    let state = freshState;
    let field = step(state, inputsOf([routeOf([])]), knobs).field;
    for (let i = 0; i < 100; i++) {
      const backends = ['a', 'b', 'c', 'd'].map((id) => signals(id, id === 'd' ? 100 : 4));
      ({ state, field } = step(state, inputsOf([routeOf(backends)]), knobs));
    }
    const [a, , , d] = field.routes[0]?.backends ?? [];
    expect(d?.pressure.queue).toBeGreaterThan(4);
    expect(a?.pressure.queue).toBe(1);
  });

  it.each([
    ['where the kernel sees answers too', { served: 10, firstByte: [{ us: 4000, count: 10 }] }],
    ['where it sees none', { firstByte: null, waiting: null, working: null }],
  ])(
    'a failure ratio that an application tells of weighs as one of the kernel’s, %s',
    (_, seen) => {
      const signals = (id: string, errorRate: number | null) => ({
        ...idle(id, 16),
        ...seen,
        connects: 10,
        app: { latencyP95Ms: null, errorRate, queueDepth: null },
      });
      let state = freshState;
      let field = step(state, inputsOf([routeOf([])]), knobs).field;
      for (let i = 0; i < 20; i++) {
        const backends = ['a', 'b', 'c', 'd'].map((id) => signals(id, id === 'd' ? 0.2 : null));
        ({ state, field } = step(state, inputsOf([routeOf(backends)]), knobs));
      }
      expect(field.routes[0]?.backends[3]?.pressure.gate).toBe(knobs.errorGatePressure);
    },
  );
});

describe('a route at rest', () => {
  const quiet = (slots: number) => [idle('a', slots), idle('b', slots)];

  it('costs no computation: its memory and its field are the same objects tick after tick', () => {
    let { state, field } = step(freshState, inputsOf([routeOf(quiet(0))]), knobs);
    for (let i = 0; i < 3; i++) {
      ({ state, field } = step(state, inputsOf([routeOf(quiet(32))]), knobs));
    }
    const again = step(state, inputsOf([routeOf(quiet(32))]), knobs);
    expect(again.field.routes[0]).toBe(field.routes[0]);
    expect(again.state.routes.get('r')).toBe(state.routes.get('r'));
  });

  it('wakes for whatever happens, and for other knobs', () => {
    let { state, field } = step(freshState, inputsOf([routeOf(quiet(0))]), knobs);
    for (let i = 0; i < 3; i++) {
      ({ state, field } = step(state, inputsOf([routeOf(quiet(32))]), knobs));
    }
    const busy = [{ ...idle('a', 32), picks: 1, connects: 1 }, idle('b', 32)];
    for (const route of [
      routeOf(busy),
      routeOf(quiet(32), { refused: 1 }),
      routeOf(quiet(32), { override: 'hard' }),
      routeOf([idle('a', 40), idle('b', 24)]),
      routeOf([idle('a', 64)]),
    ]) {
      expect(step(state, inputsOf([route]), knobs).field.routes[0]).not.toBe(field.routes[0]);
    }
    const retuned = step(state, inputsOf([routeOf(quiet(32))]), { ...knobs, deadBand: 0.4 });
    expect(retuned.field.routes[0]?.motion.startsAt).toBeCloseTo(32 * 0.4);
  });

  it('comes to rest within a quarter of an hour of its last request', () => {
    const world = warm();
    const slots = world.ids.map((id) => ({ ...idle(id, world.owned.get(id)), openMean: 0 }));
    let { state } = world;
    for (let i = 0; i < 4500; i++) {
      ({ state } = step(state, inputsOf([routeOf(slots, { slots: world.slots })]), world.knobs));
    }
    expect(state.routes.get('r')?.rest).not.toBeNull();
  });
});
