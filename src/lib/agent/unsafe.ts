// Fields that broke an invariant of safety, in words: at once, and then now and then,
// for a broken law breaks on every tick.
import type { Tick } from './agent.js';

const everyMs = 10_000;

export class UnsafeWatch {
  private count = 0;
  private saidMs = -Infinity;

  /** What is to be said of the tick; undefined: nothing now. */
  see({ violations }: Tick, nowMs: number): string | undefined {
    const [broken] = violations;
    if (broken === undefined) return undefined;
    this.count++;
    if (nowMs - this.saidMs < everyMs) return undefined;
    this.saidMs = nowMs;
    const { says, invariant, route } = broken;
    const where = route === null ? '' : ` on ${route}`;
    return `a field was not projected (${this.count} so far): ${invariant}${where}: ${says} The kernel keeps the last one, and holds.`;
  }
}
