// Routes on which not all that is judged is done. The law goes on as if it were: its slots
// are kept here, while those in force lie between an even share and what it asked for.
import { tileOwners } from '../dataplane/book.js';
import { apportion } from '../field/slots.js';
import type { RouteField, RouteSignals, ValveField } from '../field/types.js';

/**
 * Slots in force for what the law asks, when `percent` of a hundred connects are enforced;
 * the sum is kept. Who is isolated keeps an even share, for the kernel itself keeps from it
 * whoever is enforced; the others share what is left as the law would have it.
 */
export function blended(
  asked: readonly number[],
  isolated: readonly boolean[],
  percent: number,
): number[] {
  const total = asked.reduce((sum, slots) => sum + slots, 0);
  const fair = total / Math.max(1, asked.length);
  const out = (i: number) => isolated[i] === true;
  const shared = asked.reduce((sum, slots, i) => sum + (out(i) ? 0 : slots), 0);
  const left = total - fair * isolated.filter((is) => is).length;
  const weights = asked.map((slots, i) => {
    const wanted = out(i) || shared === 0 ? fair : (slots / shared) * left;
    return fair + (percent / 100) * (wanted - fair);
  });
  return apportion(
    weights,
    total,
    asked.map((_, i) => i),
  );
}

/** What the valve would have refused, by a bucket as the kernel's, filled from tick to tick. */
class WouldBeValve {
  private tokens = 0;

  /** Connects of the tick that it would have refused, of those that came. */
  refuses({ mode, budgetPerSecond, burst }: ValveField, came: number, dtMs: number): number {
    if (mode === 'normal') {
      this.tokens = burst;
      return 0;
    }
    if (mode === 'hard') {
      this.tokens = 0;
      return came;
    }
    if (budgetPerSecond === null) return 0;
    const tokens = Math.min(
      this.tokens + (budgetPerSecond * dtMs) / 1000,
      burst + (budgetPerSecond * dtMs) / 1000,
    );
    const admitted = Math.min(came, Math.floor(tokens));
    this.tokens = Math.min(burst, tokens - admitted);
    return came - admitted;
  }
}

/** What is told of a route that is not enforced whole. */
export interface Observing {
  /** Of a hundred connects, those on which what is judged is acted. */
  readonly percent: number;
  /** Slots in force by backend, "ip:port". */
  readonly slots: ReadonlyMap<string, number>;
  /** Since it is observed: connects that the valve would have refused and did not … */
  readonly wouldHaveRefused: number;
  /** … and how often a backend would have been isolated. */
  readonly wouldHaveIsolated: number;
}

export class ObservedRoute implements Observing {
  /** The owner of each slot, as the law has it. */
  ring: Uint32Array;
  slots: ReadonlyMap<string, number> = new Map();
  wouldHaveRefused = 0;
  wouldHaveIsolated = 0;
  private readonly valve = new WouldBeValve();
  private isolated: ReadonlySet<string> = new Set();
  private seen: RouteField | undefined;

  constructor(
    public percent: number,
    inForce: Uint32Array,
  ) {
    this.ring = inForce;
  }

  /** The law's ring, of the size that the route needs now. */
  resized(size: number): Uint32Array {
    if (this.ring.length !== size) {
      this.ring = size === 0 ? new Uint32Array(0) : tileOwners(this.ring, size);
    }
    return this.ring;
  }

  /** Slots in force for this field, by backend. */
  blend({ backends }: RouteField): ReadonlyMap<string, number> {
    // By name, so that the same backends have the odd slots after a restart too.
    const ordered = [...backends].sort((a, b) => (a.id < b.id ? -1 : 1));
    const counts = blended(
      ordered.map(({ slots }) => slots),
      ordered.map(({ state }) => state === 'isolated'),
      this.percent,
    );
    return (this.slots = new Map(ordered.map(({ id }, i) => [id, counts[i] ?? 0])));
  }

  /** Counts what a tick would have done. */
  see(field: RouteField, { backends, refused }: RouteSignals, dtMs: number): void {
    const came = backends.reduce((sum, { picks }) => sum + picks, refused);
    const would = this.valve.refuses(field.valve, came, dtMs);
    // What the enforced part was refused is counted where it happened.
    this.wouldHaveRefused += Math.max(0, would - refused);
    // A route at rest has the same field in every tick.
    if (field === this.seen) return;
    this.seen = field;
    const isolated = new Set(
      field.backends.filter(({ state }) => state === 'isolated').map(({ id }) => id),
    );
    for (const id of isolated) if (!this.isolated.has(id)) this.wouldHaveIsolated++;
    this.isolated = isolated;
  }
}
