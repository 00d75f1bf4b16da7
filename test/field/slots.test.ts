// How slots settle: who moves, who stays, and what is called worse than its peers.
import { describe, expect, it } from 'vitest';

import { steadied } from '../../src/lib/field/slots.js';
import { World } from './world.js';

const byName = [0, 1, 2, 3];

describe('targets, steadied', () => {
  it('leave those who may stay where they are', () => {
    expect(steadied([13, 14, 10, 27], [14, 13, 10, 27], [true, true, true, true], byName)).toEqual([
      13, 14, 10, 27,
    ]);
  });

  it('let them take or give only what the others need', () => {
    // The third gives five; of those who want more, the first two by name do first.
    expect(steadied([16, 16, 16, 16], [18, 18, 11, 17], [true, true, false, true], byName)).toEqual(
      [18, 18, 11, 17],
    );
    expect(steadied([16, 16, 16, 16], [17, 17, 14, 16], [true, true, false, true], byName)).toEqual(
      [17, 17, 14, 16],
    );
    expect(
      steadied([16, 17, 16, 15], [17, 16, 14, 17], [true, true, false, false], byName),
    ).toEqual([16, 17, 14, 17]);
  });
});

describe('a route where all are late', () => {
  it('degrades nobody: the twin has to choose between them', () => {
    const world = new World();
    world.seconds(60);
    for (const id of world.ids) world.behaviours.set(id, { slower: 4 });
    world.seconds(5);
    expect(world.route.backends.every(({ state }) => state === 'healthy')).toBe(true);
    // Late is what is later than the peers: all alike are under no pressure.
    expect(world.backend('a').pressure.latency).toBe(1);
  });

  it('still degrades who is worse than they are', () => {
    const world = new World();
    world.seconds(60);
    for (const id of world.ids) world.behaviours.set(id, { slower: id === 'c' ? 12 : 4 });
    world.seconds(10);
    const degraded = world.route.backends.filter(({ state }) => state === 'degraded');
    expect(degraded.map(({ id }) => id)).toEqual(['c']);
  });
});

describe('a small but lasting distance from its share', () => {
  it('is gone in a few seconds, dead band or not', () => {
    const world = new World();
    world.seconds(20);
    const fair = world.owned.get('b') ?? 0;
    world.owned.set('a', (world.owned.get('a') ?? 0) + 3);
    world.owned.set('b', fair - 3);
    world.tick(1);
    expect(world.owned.get('b')).toBe(fair - 3);
    world.seconds(6);
    expect(world.owned.get('b')).toBe(fair);
  });
});
