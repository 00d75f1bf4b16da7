// The kernel's histograms: what bucket covers which times, and quantiles. Connects
// have one bucket an octave, first-byte latency has four, from 67 ms on two (decide.h).
import { Limit } from './abi.js';

/** Where bucket `i` begins, in nanoseconds. */
export type Edges = (bucket: number) => number;

/** 0, 1024, 2048, 4096 … */
export const connectEdges: Edges = (bucket) =>
  bucket === 0 ? 0 : 2 ** (Limit.histogramShift + bucket - 1);

const fineBuckets = 4 * Limit.latencyFineOctaves;

/** 0, 1.25 * 2^16, 1.5 * 2^16, 1.75 * 2^16, 2^17 …, 2^26, 1.5 * 2^26, 2^27 … */
export const latencyEdges: Edges = (bucket) => {
  if (bucket === 0) return 0;
  if (bucket < fineBuckets)
    return 2 ** (Limit.latencyShift + (bucket >> 2)) * (1 + (bucket & 3) / 4);
  const halves = bucket - fineBuckets;
  const octave = Limit.latencyShift + Limit.latencyFineOctaves + (halves >> 1);
  return 2 ** octave * (1 + (halves & 1) / 2);
};

/**
 * The `q` quantile in nanoseconds, interpolated inside its bucket; null without
 * samples. The bucket bounds the error: by a factor of two, by a quarter or by a half.
 */
export function quantileNs(counts: ArrayLike<number>, edges: Edges, q: number): number | null {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i] ?? 0;
  if (total === 0) return null;
  let rank = q * total;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] ?? 0;
    if (count > 0 && rank <= count) {
      const start = edges(i);
      return start + (rank / count) * (edges(i + 1) - start);
    }
    rank -= count;
  }
  return edges(counts.length);
}
