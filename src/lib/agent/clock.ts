// When the agent ticks: on the node's own grid, so ticks neither drift nor fall
// on the same moment on all nodes; sooner when something cannot wait.

/** A number of the node's own, the same after each restart. */
export function nodeNumber(node: string): number {
  let hash = 0;
  for (const character of node) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0;
  return hash;
}

/** So long after a tick one may come before its time: a storm of stalls must not be one of ticks. */
const earlyAfterMs = 50;

export class TickClock {
  private wakeNow: (() => void) | undefined;
  private wakeAfterMs: number | undefined;
  private lastTickMs = -Infinity;

  constructor(
    private tickMs: number,
    private readonly phase: number,
  ) {}

  /** The grid from the next tick on. */
  retime(tickMs: number): void {
    this.tickMs = tickMs;
  }

  /** Asks for a tick before its time, but not before `afterMs` have passed since the last. */
  wake(afterMs = earlyAfterMs): void {
    this.wakeAfterMs = Math.min(this.wakeAfterMs ?? Infinity, afterMs);
    this.wakeNow?.();
  }

  /**
   * Calls `tick` at once and then on the grid, with how late it was, until
   * aborted. A tick that took longer than its interval costs those it overran,
   * which are skipped, never made up for.
   */
  async run(signal: AbortSignal, tick: (lagMs: number) => void): Promise<void> {
    const tickNow = (lagMs: number) => {
      tick(lagMs);
      this.lastTickMs = performance.now();
    };
    tickNow(0);
    while (!signal.aborted) {
      const now = performance.now();
      const phase = this.phase % this.tickMs;
      const next = Math.ceil((now + 1 - phase) / this.tickMs) * this.tickMs + phase;
      const early = await this.pause(next - now, signal);
      if (isAborted(signal)) return;
      tickNow(early ? 0 : Math.max(0, performance.now() - next));
    }
  }

  /** True if it was woken before its time. */
  private pause(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (early: boolean) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.wakeNow = undefined;
        this.wakeAfterMs = undefined;
        resolve(early);
      };
      const onAbort = () => {
        done(false);
      };
      const endsMs = performance.now() + ms;
      let timer = setTimeout(done, ms, false);
      signal.addEventListener('abort', onAbort);
      this.wakeNow = () => {
        const now = performance.now();
        const wakesMs = Math.max(now, this.lastTickMs + (this.wakeAfterMs ?? earlyAfterMs));
        if (wakesMs >= endsMs) return;
        clearTimeout(timer);
        if (wakesMs === now) done(true);
        else timer = setTimeout(done, wakesMs - now, true);
      };
      if (this.wakeAfterMs !== undefined) this.wakeNow();
    });
  }
}

/** A signal changes while the loop waits, which a type checker cannot see. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
