// Slots on the ring: as few change hands as the counts allow, and none bunch up.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { assignRing } from '../../src/lib/field/ring.js';
import { apportion, targets, viscous } from '../../src/lib/field/slots.js';

const size = 64;

function counted(ring: Uint32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const owner of ring) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
}

/** Counts for owners 1..n that sum to the ring's size. */
const counts = fc
  .array(fc.nat(20), { minLength: 2, maxLength: 8 })
  .filter((weights) => weights.some((weight) => weight > 0))
  .map(
    (weights) =>
      new Map(
        apportion(
          weights,
          size,
          weights.map((_, i) => i),
        ).map((count, i) => [i + 1, count]),
      ),
  );

describe('the ring', () => {
  it('gives each owner exactly its count', () => {
    fc.assert(
      fc.property(counts, counts, (first, second) => {
        const ring = assignRing(assignRing(new Uint32Array(size), first), second);
        for (const [owner, count] of second) expect(counted(ring).get(owner) ?? 0).toBe(count);
      }),
    );
  });

  it('changes as many slots as the counts differ by, and no more', () => {
    fc.assert(
      fc.property(counts, counts, (first, second) => {
        const before = assignRing(new Uint32Array(size), first);
        const after = assignRing(before, second);
        const changed = after.reduce((sum, owner, i) => sum + (owner === before[i] ? 0 : 1), 0);
        let least = 0;
        for (const owner of new Set([...first.keys(), ...second.keys()])) {
          least += Math.max(0, (second.get(owner) ?? 0) - (first.get(owner) ?? 0));
        }
        expect(changed).toBe(least);
      }),
    );
  });

  it('spreads each owner’s slots evenly when it is dealt', () => {
    const ring = assignRing(
      new Uint32Array(size),
      new Map([
        [1, 32],
        [2, 16],
        [3, 16],
      ]),
    );
    const places = [...ring].flatMap((owner, i) => (owner === 2 ? [i] : []));
    const gaps = places.map(
      (place, i) => ((places[(i + 1) % places.length] ?? 0) - place + size) % size,
    );
    expect(Math.max(...gaps)).toBeLessThanOrEqual(5);
    expect(
      [...ring].every(
        (owner, i) => owner !== 1 || ring[(i + 1) % size] !== 1 || ring[(i + 2) % size] !== 1,
      ),
    ).toBe(true);
  });
});

describe('apportionment', () => {
  it('sums exactly, for any weights', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 20 }),
        (weights) => {
          fc.pre(weights.some((weight) => weight > 0));
          const shares = apportion(
            weights,
            size,
            weights.map((_, i) => i),
          );
          expect(shares.reduce((a, b) => a + b, 0)).toBe(size);
        },
      ),
    );
  });

  it('rounds by largest remainder', () => {
    expect(apportion([1, 1, 1], 64, [0, 1, 2])).toEqual([22, 21, 21]);
    expect(apportion([5, 3, 2], 10, [0, 1, 2])).toEqual([5, 3, 2]);
  });

  it('keeps the floors, and the sum with them', () => {
    const kept = targets([100, 0.001, 100], [3, 3, 3], size, [0, 1, 2]);
    expect(kept[1]).toBe(3);
    expect(kept.reduce((a, b) => a + b, 0)).toBe(size);
  });

  it('moves towards the target by no more than the limit', () => {
    expect(viscous([20, 20, 24], [40, 4, 20], [2, 2, 2], [0, 1, 2])).toEqual([22, 19, 23]);
  });
});
