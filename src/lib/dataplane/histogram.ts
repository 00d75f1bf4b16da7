// The kernel's log2 histograms: what bucket covers which times, and quantiles.
import { Limit } from './abi.js';

/** Where bucket `i` begins, in nanoseconds: 0, 1024, 2048, 4096 … (observe.h). */
function bucketStartNs(bucket: number): number {
  return bucket === 0 ? 0 : 2 ** (Limit.histogramShift + bucket - 1);
}

/**
 * The `q` quantile in nanoseconds, interpolated inside its bucket; null without
 * samples. A log2 bucket bounds the error: the truth is within a factor of two.
 */
export function quantileNs(counts: ArrayLike<number>, q: number): number | null {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i] ?? 0;
  if (total === 0) return null;
  let rank = q * total;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] ?? 0;
    if (count > 0 && rank <= count) {
      const start = bucketStartNs(i);
      return start + (rank / count) * (bucketStartNs(i + 1) - start);
    }
    rank -= count;
  }
  return bucketStartNs(counts.length);
}
