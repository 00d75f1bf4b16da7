// Who may have which index and which range of slots. Index 0 is nobody's: a
// fresh map is full of zeros. What is given out twice would send the connects of one
// service to another, so each allocator knows the state of every part of its map, and
// throws a BrokenBookError at whoever asks for a step that no state allows.
import { BrokenBookError, InputError } from '../errors.js';
import type { SlotRange } from './plane.js';

function full(what: string, entries: number): InputError {
  return new InputError(
    `The dataplane has no room for another ${what}: its map holds ${entries}.`,
    `Serve less, or unload and load again with more room (see \`nity load --help\`).`,
  );
}

/** RESTING: given back, and kept from everybody until its time of grace is over. */
const State = { free: 0, taken: 1, resting: 2 } as const;

/** Indices of a map: free → taken → resting → free, and no other way. */
export class IndexAllocator {
  private readonly states: Uint8Array;
  /** In the order in which they were given back. */
  private resting: { readonly index: number; readonly reusableAtNs: bigint }[] = [];
  /** All below it are taken or resting. */
  private firstFree = 1;
  private taken = 0;

  constructor(
    private readonly what: string,
    private readonly entries: number,
  ) {
    this.states = new Uint8Array(entries);
  }

  /** Marks an index that a predecessor gave out. */
  adopt(index: number): void {
    this.move(index, State.free, State.taken);
    this.taken++;
  }

  /** Marks a free index that a predecessor may have got back a moment ago. */
  rest(index: number, reusableAtNs: bigint): void {
    this.move(index, State.free, State.resting);
    this.resting.push({ index, reusableAtNs });
  }

  allocate(nowNs: bigint): number {
    this.wake(nowNs);
    while (this.firstFree < this.entries && this.states[this.firstFree] !== State.free) {
      this.firstFree++;
    }
    const index = this.firstFree;
    if (index >= this.entries) throw full(this.what, this.entries - 1);
    this.move(index, State.free, State.taken);
    this.taken++;
    return index;
  }

  release(index: number, reusableAtNs: bigint): void {
    this.move(index, State.taken, State.resting);
    this.taken--;
    this.resting.push({ index, reusableAtNs });
  }

  isTaken(index: number): boolean {
    return this.states[index] === State.taken;
  }

  /** How many more can be given out now: those in their grace time cannot. */
  room(nowNs: bigint): number {
    this.wake(nowNs);
    return this.entries - 1 - this.taken - this.resting.length;
  }

  private wake(nowNs: bigint): void {
    const still = this.resting.findIndex(({ reusableAtNs }) => reusableAtNs > nowNs);
    const over = this.resting.splice(0, still < 0 ? this.resting.length : still);
    for (const { index } of over) {
      this.move(index, State.resting, State.free);
      this.firstFree = Math.min(this.firstFree, index);
    }
  }

  private move(index: number, from: number, to: number): void {
    if (index < 1 || index >= this.entries || this.states[index] !== from) {
      const names = Object.keys(State);
      const is = names[this.states[index] ?? -1] ?? 'outside the map';
      throw new BrokenBookError(
        `The ${this.what} index ${index} is ${is}, and cannot become ${names[to] ?? to}.`,
      );
    }
    this.states[index] = to;
  }
}

/**
 * Ranges of a power-of-two size in one table, by buddies: a range is aligned to
 * its size, and two free halves become whole again.
 */
export class RangeAllocator {
  private readonly free = new Map<number, Set<number>>();
  /** Size of each range that is given out, by its base. */
  private readonly taken = new Map<number, number>();
  private readonly top: number;

  constructor(
    private readonly what: string,
    private readonly entries: number,
  ) {
    this.top = 2 ** Math.floor(Math.log2(entries));
    this.clear();
  }

  /** Takes everything back. */
  clear(): void {
    this.free.clear();
    this.taken.clear();
    // A size that is no power of two is so many blocks, the largest first.
    for (let base = 0, size = this.top; size >= 1; size /= 2) {
      if (base + size > this.entries) continue;
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
    this.taken.set(base, size);
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
    this.taken.set(base, size);
    return true;
  }

  release({ base, size }: SlotRange): void {
    if (size === 0) return;
    if (this.taken.get(base) !== size) {
      throw new BrokenBookError(`The ${this.what} of ${size} at ${base} is given back by nobody.`);
    }
    this.taken.delete(base);
    let at = base;
    let of = size;
    for (; of < this.top; of *= 2) {
      const buddy = at % (of * 2) === 0 ? at + of : at - of;
      if (!this.freeOf(of).delete(buddy)) break;
      at = Math.min(at, buddy);
    }
    this.freeOf(of).add(at);
  }

  /** How much of the table is given out. */
  get used(): number {
    let used = 0;
    for (const size of this.taken.values()) used += size;
    return used;
  }
}
