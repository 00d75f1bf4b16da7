// Changes on their way from the cluster into the kernel: which are not there yet, and how
// long the others took.
import { Latencies, type LatencySummary } from './latencies.js';
import type { ServiceProgress } from './status.js';
import type { Change } from './store.js';

export class Progress {
  private readonly fromCause = new Latencies();
  private readonly fromEvent = new Latencies();
  private readonly lastProgrammingMs = new Map<string, number>();
  /** Changes that are made into routes, and not in the kernel yet, by Service. */
  private readonly pending = new Map<string, Change>();
  private readonly startedMs = Date.now();

  /** A change of this Service was made into routes. */
  begun(service: string, change: Change): void {
    const known = this.pending.get(service);
    this.pending.set(service, known === undefined ? change : { ...change, sinceMs: known.sinceMs });
  }

  /** All of them are in the kernel; `isServed` says which Services still are. */
  ended(isServed: (service: string) => boolean): void {
    if (this.pending.size === 0) return;
    const nowMs = performance.now();
    const wallMs = Date.now();
    for (const [service, { sinceMs, triggeredMs }] of this.pending) {
      this.fromEvent.add(nowMs - sinceMs);
      // What happened before this agent began says how long it was away, not how quick it is.
      if (triggeredMs === null || triggeredMs < this.startedMs) continue;
      const tookMs = Math.max(0, wallMs - triggeredMs);
      this.fromCause.add(tookMs);
      if (isServed(service)) this.lastProgrammingMs.set(service, tookMs);
    }
    this.pending.clear();
  }

  forget(service: string): void {
    this.lastProgrammingMs.delete(service);
  }

  /** When the oldest that is not in the kernel was heard of; null without one. */
  get oldestMs(): number | null {
    let oldestMs = Infinity;
    for (const { sinceMs } of this.pending.values()) oldestMs = Math.min(oldestMs, sinceMs);
    return oldestMs === Infinity ? null : oldestMs;
  }

  /** From the cause in the cluster to the kernel, and from the event heard. */
  get latencies(): { readonly programming: LatencySummary; readonly applying: LatencySummary } {
    return { programming: this.fromCause.summary(), applying: this.fromEvent.summary() };
  }

  /** By Service; those of which there is anything to say. */
  ofServices(nowMs: number): Record<string, ServiceProgress> {
    const progress: Record<string, ServiceProgress> = {};
    for (const [service, programmingMs] of this.lastProgrammingMs) {
      progress[service] = { pendingMs: null, programmingMs };
    }
    for (const [service, { sinceMs }] of this.pending) {
      const programmingMs = this.lastProgrammingMs.get(service) ?? null;
      progress[service] = { pendingMs: nowMs - sinceMs, programmingMs };
    }
    return progress;
  }
}
