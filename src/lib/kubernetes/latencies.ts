// How long changes took, over the last so many: what a percentile is read from.

const kept = 1_024;

/** A tick is 200 ms; beyond a minute it is an outage. */
export const latencyBoundsMs = [
  50, 100, 200, 300, 400, 600, 800, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000,
] as const;

export interface LatencySummary {
  /** Since the agent began. */
  readonly count: number;
  readonly sumMs: number;
  /** How many were up to each of latencyBoundsMs and above the one before, then all beyond. */
  readonly counts: readonly number[];
  /** Of the last 1,024; null without any. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

export class Latencies {
  private readonly ring: number[] = [];
  private count = 0;
  private sumMs = 0;
  private readonly counts = Array.from({ length: latencyBoundsMs.length + 1 }, () => 0);

  add(ms: number): void {
    this.ring[this.count % kept] = ms;
    this.count++;
    this.sumMs += ms;
    const within = latencyBoundsMs.findIndex((bound) => ms <= bound);
    const at = within < 0 ? latencyBoundsMs.length : within;
    this.counts[at] = (this.counts[at] ?? 0) + 1;
  }

  summary(): LatencySummary {
    const sorted = this.ring.toSorted((a, b) => a - b);
    const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? null;
    const { count, sumMs, counts } = this;
    return { count, sumMs, counts: [...counts], p50Ms: at(0.5), p99Ms: at(0.99) };
  }
}
