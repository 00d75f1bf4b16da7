// Watches the slots that our agents move: who turned back, how much changed, and what
// each backend held at the end of each window.
import type { Tick } from '../../agent/agent.js';
import { admissionModes, regimes, type AdmissionMode, type Regime } from '../../field/states.js';

/** What the agents of all nodes held, summed over services, by place. */
export interface Held {
  readonly slots: readonly number[];
  readonly admissionMode: AdmissionMode;
  readonly regime: Regime;
}

interface Direction {
  sign: number;
  reversals: number;
}

export interface ChurnPoint {
  readonly atMs: number;
  /** Part of all slots that changed hands in the tick. */
  readonly moved: number;
}

export class SlotWatch {
  readonly churn: ChurnPoint[] = [];
  private readonly last: (Tick | undefined)[] = [];
  private readonly directions = new Map<string, Direction>();

  constructor(
    private readonly places: number,
    /** The place of a backend, by its identity "ip:port". */
    private readonly placeOf: (id: string) => number,
  ) {}

  see(node: number, nowMs: number, tick: Tick): void {
    this.last[node] = tick;
    let moved = 0;
    let total = 0;
    for (const route of tick.field.routes) {
      total += route.slots;
      for (const { id, slots, before } of route.backends) {
        const by = slots - before;
        if (by === 0) continue;
        moved += Math.abs(by) / 2;
        this.turn(`${node} ${route.name} ${id}`, Math.sign(by));
      }
    }
    this.churn.push({ atMs: nowMs, moved: total === 0 ? 0 : moved / total });
  }

  private turn(whose: string, sign: number): void {
    const known = this.directions.get(whose);
    if (known === undefined) this.directions.set(whose, { sign, reversals: 0 });
    else if (known.sign !== sign) {
      known.sign = sign;
      known.reversals++;
    }
  }

  /** Of the backend that turned back most often. */
  worstReversals(): number {
    let worst = 0;
    for (const { reversals } of this.directions.values()) worst = Math.max(worst, reversals);
    return worst;
  }

  /** What is held now; null before the first tick. */
  held(): Held | null {
    if (this.last.length === 0) return null;
    const slots = Array.from({ length: this.places }, () => 0);
    let mode = 0;
    let regime = 0;
    for (const tick of this.last) {
      for (const route of tick?.field.routes ?? []) {
        mode = Math.max(mode, admissionModes.indexOf(route.valve.mode));
        regime = Math.max(regime, regimes.indexOf(route.regime));
        for (const backend of route.backends) {
          const place = this.placeOf(backend.id);
          slots[place] = (slots[place] ?? 0) + backend.slots;
        }
      }
    }
    return {
      slots,
      admissionMode: admissionModes[mode] ?? 'normal',
      regime: regimes[regime] ?? 'laminar',
    };
  }
}
