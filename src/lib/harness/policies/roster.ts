// The backends a policy chooses among, with what it counts of each by its place in the
// roster. A backend that comes back has been forgotten: numbers are never used again.

export class Roster {
  backends: readonly number[] = [];
  /** Requests under way, by place. */
  pending = new Int32Array(0);
  private readonly placeOf = new Map<number, number>();

  /** Calls `moved` with the old place of each that stays (-1 for a newcomer), in the new order. */
  serve(backends: readonly number[], moved?: (place: number, before: number) => void): void {
    const pending = new Int32Array(backends.length);
    backends.forEach((backend, place) => {
      const before = this.placeOf.get(backend) ?? -1;
      pending[place] = before < 0 ? 0 : (this.pending[before] ?? 0);
      moved?.(place, before);
    });
    this.backends = backends.slice();
    this.pending = pending;
    this.placeOf.clear();
    backends.forEach((backend, place) => this.placeOf.set(backend, place));
  }

  get size(): number {
    return this.backends.length;
  }

  /** -1 once it is gone. */
  place(backend: number): number {
    return this.placeOf.get(backend) ?? -1;
  }

  began(place: number): number {
    this.pending[place] = (this.pending[place] ?? 0) + 1;
    return this.backends[place] ?? -1;
  }

  ended(backend: number): number {
    const place = this.place(backend);
    if (place >= 0) this.pending[place] = (this.pending[place] ?? 0) - 1;
    return place;
  }
}

/** Two different places of `size`, which is at least 2, uniformly. */
export function twoOf(size: number, random: () => number): readonly [number, number] {
  const first = Math.floor(random() * size);
  const other = Math.floor(random() * (size - 1));
  return [first, other >= first ? other + 1 : other];
}
