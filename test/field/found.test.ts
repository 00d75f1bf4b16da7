// How soon a backend that does not work is found out, and how it comes back: counted in
// requests that it cost, for few requests a second as for many.
import { describe, expect, it } from 'vitest';

import { World, type Behaviour } from './world.js';

const names = ['a', 'b', 'c', 'd'];

/** Requests that went to `a` from when it turned `kind` until it was isolated. */
function costOf(kind: Behaviour, backends: number, requestsPerSecond: number, seed: number) {
  const ids = names.slice(0, backends);
  const world = new World({ ids, requestsPerSecond, seed, patienceMs: 60_000, dials: true });
  world.seconds(60);
  world.behaviours.set('a', kind);
  world.reset();
  for (let i = 0; i < 1000 && world.backend('a').state !== 'isolated'; i++) world.tick();
  return { world, cost: world.sent.get('a') ?? 0 };
}

describe.each([15, 5, 1])('at %s connects a second', (rate) => {
  it.each([2, 4])('a hung backend of %s is found out by three requests', (backends) => {
    for (let seed = 1; seed <= 5; seed++) {
      const { world, cost } = costOf('hung', backends, rate, seed);
      expect(world.backend('a').memory.circuit).toMatchObject({
        kind: 'isolated',
        cause: 'silence',
      });
      expect(cost).toBeGreaterThanOrEqual(3);
      // And by those that came while these grew old enough to be unheard of.
      expect(cost).toBeLessThanOrEqual(3 + Math.ceil(rate * 0.6));
      world.reset();
      world.seconds(60);
      expect(world.sent.get('a') ?? 0).toBeLessThanOrEqual(5);
      expect(world.route.valve.mode).toBe('normal');
    }
  });

  it.each([2, 4])('a refusing backend of %s is found out by two', (backends) => {
    for (let seed = 1; seed <= 5; seed++) {
      const { world, cost } = costOf('refusing', backends, rate, seed);
      expect(world.backend('a').memory.circuit).toMatchObject({
        kind: 'isolated',
        cause: 'errors',
      });
      expect(cost).toBe(2);
      // The agent's own connects fail, and no client is sent for a minute.
      world.reset();
      world.seconds(50);
      expect(world.sent.get('a') ?? 0).toBe(0);
    }
  });

  it.each(['hung', 'refusing'] as const)('the only backend stays in when it is %s', (kind) => {
    const world = new World({ ids: ['a'], requestsPerSecond: rate, dials: true });
    world.seconds(20);
    world.behaviours.set('a', kind);
    for (let i = 0; i < 300; i++) {
      world.tick();
      expect(world.backend('a')).toMatchObject({ state: 'healthy', slots: 64 });
      expect(world.route.valve.mode).toBe('normal');
    }
  });
});

describe('a wait for an answer', () => {
  it('says nothing until the route’s answers are known for four seconds', () => {
    const world = new World({ ids: names, requestsPerSecond: 100, patienceMs: 60_000 });
    world.seconds(1);
    world.behaviours.set('a', 'hung');
    world.seconds(2.8);
    expect(world.backend('a').memory.circuit.kind).toBe('admitted');
    world.seconds(1);
    expect(world.backend('a').state).toBe('isolated');
  });
});

describe('the agent’s own connect to a backend that refused', () => {
  function refused() {
    const world = new World({ ids: names, dials: true });
    world.seconds(10);
    world.behaviours.set('a', 'refusing');
    world.seconds(10);
    world.reset();
    return world;
  }

  it('holds the drip while it fails, for a minute at most', () => {
    const world = refused();
    world.seconds(45);
    expect(world.sent.get('a') ?? 0).toBe(0);
    world.seconds(30);
    expect(world.sent.get('a') ?? 0).toBeGreaterThan(0);
  });

  it('lets it be tried at once when it succeeds', () => {
    const world = refused();
    world.behaviours.set('a', 'healthy');
    world.seconds(1);
    expect(world.sent.get('a') ?? 0).toBeGreaterThan(0);
    world.seconds(4);
    expect(world.backend('a').memory.circuit.kind).toBe('admitted');
    expect(world.lost).toBe(0);
  });

  it('is distrusted when it succeeds and clients still fail', () => {
    // A policy lets the agent through, and no client.
    const policy = new Map<string, Behaviour>();
    const world = new World({
      ids: names,
      dials: true,
      meets: (id) => policy.get(id),
    });
    world.seconds(10);
    policy.set('a', 'refusing');
    world.seconds(30);
    expect(world.backend('a').memory.circuit).toMatchObject({
      kind: 'isolated',
      distrustsDial: true,
    });
    // The drip is metered as if the agent had not dialled.
    world.reset();
    world.seconds(40);
    expect(world.lost).toBeLessThanOrEqual(11);
  });
});
