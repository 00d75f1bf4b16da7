// Quantiles of the kernel's histograms, against times that are known.
import { describe, expect, it } from 'vitest';

import {
  connectEdges,
  latencyEdges,
  quantileNs,
  type Edges,
} from '../../src/lib/dataplane/histogram.js';

function counted(edges: Edges, buckets: number, timesNs: readonly number[]): number[] {
  const counts = new Array<number>(buckets).fill(0);
  for (const ns of timesNs) {
    let bucket = 0;
    while (bucket + 1 < buckets && edges(bucket + 1) <= ns) bucket++;
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  return counts;
}

const timesNs = Array.from({ length: 1000 }, (_, i) => 50_000 * 1.005 ** i);

describe('a quantile', () => {
  it('is nothing without samples', () => {
    expect(quantileNs([0, 0, 0], connectEdges, 0.5)).toBeNull();
  });

  it.each([
    { edges: connectEdges, buckets: 24, within: 2, q: 0.5 },
    { edges: connectEdges, buckets: 24, within: 2, q: 0.99 },
    { edges: latencyEdges, buckets: 64, within: 1.25, q: 0.5 },
    { edges: latencyEdges, buckets: 64, within: 1.25, q: 0.95 },
  ])('is off by less than its bucket: $within-fold, q $q', ({ edges, buckets, within, q }) => {
    const found = quantileNs(counted(edges, buckets, timesNs), edges, q) ?? NaN;
    const truth = timesNs[Math.floor(q * timesNs.length)] ?? NaN;
    expect(Math.max(found / truth, truth / found)).toBeLessThan(within);
  });

  it('grows with its share, and ends where the last bucket does', () => {
    const counts = counted(latencyEdges, 64, timesNs);
    const found = [0, 0.25, 0.5, 0.75, 1].map((q) => quantileNs(counts, latencyEdges, q) ?? NaN);
    expect([...found].sort((a, b) => a - b)).toEqual(found);
    expect(quantileNs([0, 0, 7], latencyEdges, 1)).toBe(latencyEdges(3));
  });
});
