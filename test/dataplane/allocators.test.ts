// Indices and ranges: given out once, whoever asks for what.
import { describe, expect, it } from 'vitest';

import { IndexAllocator, RangeAllocator } from '../../src/lib/dataplane/allocators.js';
import { BrokenBookError, InputError } from '../../src/lib/errors.js';

const second = 1_000_000_000n;

describe('indices', () => {
  it('that were adopted are given out again after they were given back and have rested, once', () => {
    const indices = new IndexAllocator('route', 8);
    for (const index of [1, 2, 3]) indices.adopt(index);
    indices.release(2, second);
    expect([indices.allocate(0n), indices.allocate(0n)]).toEqual([4, 5]);
    expect(indices.room(second - 1n)).toBe(2);
    const rest = Array.from({ length: 3 }, () => indices.allocate(second));
    expect(rest.sort()).toEqual([2, 6, 7]);
    expect(() => indices.allocate(second)).toThrow(InputError);
  });

  it('that nobody has cannot be given back, nor adopted twice', () => {
    const indices = new IndexAllocator('route', 8);
    const index = indices.allocate(0n);
    expect(() => {
      indices.adopt(index);
    }).toThrow(BrokenBookError);
    indices.release(index, second);
    for (const wrong of [index, 5, 0, 8]) {
      expect(() => {
        indices.release(wrong, second);
      }).toThrow(BrokenBookError);
    }
  });

  it('that a predecessor may have got back a moment ago rest too', () => {
    const indices = new IndexAllocator('backend', 3);
    indices.rest(1, second);
    expect(indices.allocate(0n)).toBe(2);
    expect(() => indices.allocate(0n)).toThrow(InputError);
    expect(indices.allocate(second)).toBe(1);
  });
});

describe('ranges', () => {
  it('that were adopted are nobody else’s until they are given back', () => {
    const ranges = new RangeAllocator('range', 256);
    expect(ranges.adopt({ base: 64, size: 64 })).toBe(true);
    expect(ranges.adopt({ base: 0, size: 128 })).toBe(false);
    const others = [64, 128].map((size) => ranges.allocate(size));
    expect(others).toEqual([
      { base: 0, size: 64 },
      { base: 128, size: 128 },
    ]);
    ranges.release({ base: 64, size: 64 });
    expect(ranges.allocate(64)).toEqual({ base: 64, size: 64 });
    expect(ranges.used).toBe(256);
  });

  it('that nobody has cannot be given back', () => {
    const ranges = new RangeAllocator('range', 256);
    const range = ranges.allocate(64);
    ranges.release(range);
    expect(() => {
      ranges.release(range);
    }).toThrow(BrokenBookError);
    expect(ranges.allocate(256)).toEqual({ base: 0, size: 256 });
  });
});
