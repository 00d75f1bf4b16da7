// Quantiles of the kernel's histograms, against times that are known.
import { describe, expect, it } from 'vitest';

import { Agent } from '../../src/lib/agent/agent.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { Latency, Limit } from '../../src/lib/dataplane/abi.js';
import {
  connectEdges,
  latencyEdges,
  quantileNs,
  type Edges,
} from '../../src/lib/dataplane/histogram.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import { Snapshot } from '../../src/lib/dataplane/snapshot.js';
import { routeName } from '../../src/lib/routes/route-set.js';

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
    { edges: latencyEdges, buckets: 64, within: 1.5, q: 1 - 1 / 1000 },
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

describe('the edges', () => {
  /** Says in which bucket the dataplane's own code counts a time, of a connect or of an answer. */
  function counting(what: 'connect' | 'answer'): (ns: number) => number {
    const source = new ModelSource(defaultKnobs);
    let nowNs = 3600n * 1_000_000_000n;
    source.model.setNowNs(nowNs);
    const plane = source.plane();
    const agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
    agent.serve([
      {
        name: routeName('test/edges', 'tcp'),
        addresses: [{ vip: '127.96.1.1', port: 80, protocol: 'TCP' }],
        backends: [{ address: '127.0.0.1', port: 9001 }],
        affinity: { kind: 'none' },
        gear: 'single',
      },
    ]);
    agent.tick();
    plane.fieldState.write(0, { latency: Latency.firstByte });
    const counts = () => {
      const counters = new Snapshot(plane).backends()[0]?.counters;
      if (counters === undefined) throw new Error('there is no backend');
      return what === 'connect' ? counters.connectHistogram : counters.firstByteHistogram;
    };
    return (ns) => {
      const before = counts();
      const pass = (step: typeof what) => {
        if (step === what) nowNs += BigInt(ns);
        source.model.setNowNs(nowNs);
      };
      const socket = source.model.socket(1n, 1n, 0, 0);
      socket.connect(ipv4ToNumber('127.96.1.1'), 80);
      pass('connect');
      socket.established();
      socket.sent(0, false);
      pass('answer');
      socket.received(1, 72);
      socket.release();
      return counts().findIndex((count, bucket) => count !== before[bucket]);
    };
  }

  it.each([
    { what: 'connect', edges: connectEdges, buckets: Limit.histogramBuckets },
    { what: 'answer', edges: latencyEdges, buckets: Limit.latencyBuckets },
  ] as const)('are those by which the dataplane counts: $what', ({ what, edges, buckets }) => {
    const bucketOf = counting(what);
    for (let bucket = 1; bucket < buckets; bucket++) {
      expect(bucketOf(edges(bucket))).toBe(bucket);
      expect(bucketOf(edges(bucket) - 1)).toBe(bucket - 1);
    }
  });

  it('reach minutes', () => {
    expect(latencyEdges(Limit.latencyBuckets - 1) / 1e9).toBeCloseTo(206.2, 1);
    expect(connectEdges(Limit.histogramBuckets - 1) / 1e9).toBeCloseTo(17.2, 1);
  });
});
