// What happens next: a binary heap of events in arrays, so that a million events
// make no garbage. Events of one moment come in the order in which they were set.

/** Event times are in milliseconds; what an event means, its setter knows. */
export class Calendar {
  private times = new Float64Array(1024);
  private orders = new Float64Array(1024);
  private kinds = new Uint8Array(1024);
  private whos = new Int32Array(1024);
  private whiches = new Float64Array(1024);
  private size = 0;
  private set = 0;

  /** The event that next() found. */
  atMs = 0;
  kind = 0;
  who = 0;
  which = 0;

  private grow(): void {
    const wider = <T extends Float64Array | Uint8Array | Int32Array>(old: T, made: T): T => {
      made.set(old);
      return made;
    };
    const size = this.times.length * 2;
    this.times = wider(this.times, new Float64Array(size));
    this.orders = wider(this.orders, new Float64Array(size));
    this.kinds = wider(this.kinds, new Uint8Array(size));
    this.whos = wider(this.whos, new Int32Array(size));
    this.whiches = wider(this.whiches, new Float64Array(size));
  }

  private place(at: number, from: number): void {
    this.times[at] = this.times[from] ?? 0;
    this.orders[at] = this.orders[from] ?? 0;
    this.kinds[at] = this.kinds[from] ?? 0;
    this.whos[at] = this.whos[from] ?? 0;
    this.whiches[at] = this.whiches[from] ?? 0;
  }

  at(atMs: number, kind: number, who: number, which = 0): void {
    if (this.size === this.times.length) this.grow();
    let hole = this.size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      // A newcomer is later than whatever was set for the same moment.
      if ((this.times[parent] ?? 0) <= atMs) break;
      this.place(hole, parent);
      hole = parent;
    }
    this.times[hole] = atMs;
    this.orders[hole] = this.set++;
    this.kinds[hole] = kind;
    this.whos[hole] = who;
    this.whiches[hole] = which;
  }

  private before(a: number, b: number): boolean {
    const ta = this.times[a] ?? 0;
    const tb = this.times[b] ?? 0;
    return ta < tb || (ta === tb && (this.orders[a] ?? 0) < (this.orders[b] ?? 0));
  }

  /** Takes the next event, if it is due by `untilMs`. */
  next(untilMs: number): boolean {
    if (this.size === 0 || (this.times[0] ?? 0) > untilMs) return false;
    this.atMs = this.times[0] ?? 0;
    this.kind = this.kinds[0] ?? 0;
    this.who = this.whos[0] ?? 0;
    this.which = this.whiches[0] ?? 0;
    const last = --this.size;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      if (child + 1 < last && this.before(child + 1, child)) child++;
      if (this.before(last, child)) break;
      this.place(hole, child);
      hole = child;
    }
    this.place(hole, last);
    return true;
  }
}
