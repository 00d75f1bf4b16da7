// How long changes took, over the last so many: what a percentile is read from.

const kept = 1_024;

export interface LatencySummary {
  /** Since the agent began. */
  readonly count: number;
  readonly sumMs: number;
  /** Of the last 1,024; null without any. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

export class Latencies {
  private readonly ring: number[] = [];
  private count = 0;
  private sumMs = 0;

  add(ms: number): void {
    this.ring[this.count % kept] = ms;
    this.count++;
    this.sumMs += ms;
  }

  summary(): LatencySummary {
    const sorted = this.ring.toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? null;
    return { count: this.count, sumMs: this.sumMs, p50Ms: at(0.5), p99Ms: at(0.99) };
  }
}
