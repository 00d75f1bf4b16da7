// Fields that could not be projected, in words: at once, and then now and then, for what
// is broken is so on every tick.
import type { Tick } from './agent.js';

const everyMs = 10_000;

export class UnsafeWatch {
  private count = 0;
  private saidMs = -Infinity;

  /** What is to be said of the tick; undefined: nothing now. */
  see({ outcome }: Tick, nowMs: number): string | undefined {
    if (outcome.kind !== 'unsafe') return undefined;
    this.count++;
    if (nowMs - this.saidMs < everyMs) return undefined;
    this.saidMs = nowMs;
    return `a field was not projected (${this.count} so far): ${outcome.why} The kernel keeps the last one, and holds.`;
  }
}
