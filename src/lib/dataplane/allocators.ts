// Who may have which index and which range of slots. Index 0 is nobody's: a
// fresh map is full of zeros.
import { InputError } from '../errors.js';
import type { SlotRange } from './plane.js';

function full(what: string, entries: number): InputError {
  return new InputError(
    `The dataplane has no room for another ${what}: its map holds ${entries}.`,
    `Serve less, or unload and load again with more room (see \`nity load --help\`).`,
  );
}

/** Indices of a map; a released one is given out again only after its grace time. */
export class IndexAllocator {
  private next = 1;
  private readonly released: { index: number; reusableAtNs: bigint }[] = [];
  private readonly taken = new Set<number>();

  constructor(
    private readonly what: string,
    private readonly entries: number,
  ) {}

  /** Marks an index that a predecessor gave out. */
  adopt(index: number): void {
    this.taken.add(index);
  }

  allocate(nowNs: bigint): number {
    const oldest = this.released[0];
    if (oldest !== undefined && oldest.reusableAtNs <= nowNs) {
      this.released.shift();
      this.taken.add(oldest.index);
      return oldest.index;
    }
    while (this.taken.has(this.next)) this.next++;
    if (this.next >= this.entries) throw full(this.what, this.entries - 1);
    this.taken.add(this.next);
    return this.next++;
  }

  release(index: number, reusableAtNs: bigint): void {
    if (this.taken.delete(index)) this.released.push({ index, reusableAtNs });
  }

  /** How many more can be given out now: those in their grace time cannot. */
  room(nowNs: bigint): number {
    const resting = this.released.filter(({ reusableAtNs }) => reusableAtNs > nowNs).length;
    return this.entries - 1 - this.taken.size - resting;
  }
}

/**
 * Ranges of a power-of-two size in one table, by buddies: a range is aligned to
 * its size, and two free halves become whole again.
 */
export class RangeAllocator {
  private readonly free = new Map<number, Set<number>>();
  private readonly top: number;

  constructor(
    private readonly what: string,
    private readonly entries: number,
  ) {
    this.top = 2 ** Math.floor(Math.log2(entries));
    // A size that is no power of two is so many blocks, the largest first.
    for (let base = 0, size = this.top; size >= 1; size /= 2) {
      if (base + size > entries) continue;
      this.freeOf(size).add(base);
      base += size;
    }
  }

  private freeOf(size: number): Set<number> {
    let bases = this.free.get(size);
    if (bases === undefined) this.free.set(size, (bases = new Set()));
    return bases;
  }

  allocate(size: number): SlotRange {
    let from = size;
    while (from <= this.top && this.freeOf(from).size === 0) from *= 2;
    const [base] = this.freeOf(from);
    if (base === undefined) throw full(`${this.what} of ${size}`, this.entries);
    this.freeOf(from).delete(base);
    for (; from > size; from /= 2) this.freeOf(from / 2).add(base + from / 2);
    return { base, size };
  }

  /** Takes a range that a predecessor wrote; false if part of it is taken already. */
  adopt({ base, size }: SlotRange): boolean {
    if (size < 1 || base % size !== 0 || !Number.isInteger(Math.log2(size))) return false;
    let from = size;
    while (from <= this.top && !this.freeOf(from).has(base - (base % from))) from *= 2;
    if (from > this.top) return false;
    let at = base - (base % from);
    this.freeOf(from).delete(at);
    for (; from > size; from /= 2) {
      const half = from / 2;
      const inUpper = base >= at + half;
      this.freeOf(half).add(inUpper ? at : at + half);
      if (inUpper) at += half;
    }
    return true;
  }

  release({ base, size }: SlotRange): void {
    if (size === 0) return;
    let at = base;
    let of = size;
    for (; of < this.top; of *= 2) {
      const buddy = at % (of * 2) === 0 ? at + of : at - of;
      if (!this.freeOf(of).delete(buddy)) break;
      at = Math.min(at, buddy);
    }
    this.freeOf(of).add(at);
  }
}
