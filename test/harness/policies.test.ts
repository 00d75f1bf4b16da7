// Each policy does what its source says, in a world small enough to see it.
import { describe, expect, it } from 'vitest';

import type { Load, MakeBalancer, NodeView } from '../../src/lib/harness/balancer.js';
import { randomOf } from '../../src/lib/harness/chance/random.js';
import { hotCold } from '../../src/lib/harness/policies/hot-cold.js';
import { leastConnections } from '../../src/lib/harness/policies/least-connections.js';
import { peakEwma } from '../../src/lib/harness/policies/peak-ewma.js';
import { random } from '../../src/lib/harness/policies/random.js';
import { roundRobin } from '../../src/lib/harness/policies/round-robin.js';
import { twoChoices } from '../../src/lib/harness/policies/two-choices.js';

class Bench {
  nowMs = 0;
  readonly loads = new Map<number, Load>();
  private next = 0;
  readonly balancer;

  constructor(make: MakeBalancer, backends: readonly number[]) {
    const draw = randomOf(1, 'bench');
    const view: NodeView = {
      random: draw,
      nowMs: () => this.nowMs,
      accepts: () => true,
      probe: (backend, heard) => {
        const load = this.loads.get(backend);
        if (load !== undefined) heard(load);
      },
    };
    this.balancer = make(view);
    this.balancer.serve(backends);
  }

  /** Picks without an end: the requests stay under way. */
  hold(times: number): number[] {
    return Array.from({ length: times }, () => this.balancer.pick(this.next++));
  }

  /** A request from its pick to its answer. */
  serve(latencyMs: (backend: number) => number): number {
    const request = this.next++;
    const backend = this.balancer.pick(request);
    this.nowMs += 1;
    if (backend >= 0) this.balancer.ended(request, backend, latencyMs(backend), 'answered');
    return backend;
  }

  counts(times: number, latencyMs: (backend: number) => number = () => 1): Map<number, number> {
    const counts = new Map<number, number>();
    for (let i = 0; i < times; i++) {
      const backend = this.serve(latencyMs);
      counts.set(backend, (counts.get(backend) ?? 0) + 1);
    }
    return counts;
  }
}

describe.each([
  ['random', random],
  ['round-robin', roundRobin],
  ['least-connections', leastConnections],
  ['two-choices', twoChoices],
  ['peak-ewma', peakEwma],
  ['hot-cold', hotCold],
] as const)('%s', (_name, make) => {
  it('sends everything to the only backend, and nothing to none', () => {
    expect(new Set(new Bench(make, [7]).hold(5))).toEqual(new Set([7]));
    expect(new Bench(make, []).hold(2)).toEqual([-1, -1]);
  });

  it('never picks who is gone, and picks who has come', () => {
    const bench = new Bench(make, [1, 2, 3]);
    bench.counts(50);
    bench.balancer.serve([2, 4]);
    const counts = bench.counts(200);
    expect(new Set(counts.keys())).toEqual(new Set([2, 4]));
  });
});

describe('round robin', () => {
  it('goes round', () => {
    const picks = new Bench(roundRobin, [1, 2, 3]).hold(6);
    expect(picks.slice(0, 3)).toEqual(picks.slice(3));
    expect(new Set(picks).size).toBe(3);
  });
});

describe('random', () => {
  it('is fair within chance', () => {
    for (const count of new Bench(random, [1, 2, 3, 4]).counts(4000).values()) {
      expect(Math.abs(count - 1000)).toBeLessThan(4 * Math.sqrt(750));
    }
  });
});

describe('least connections', () => {
  it('fills the emptiest first', () => {
    const bench = new Bench(leastConnections, [1, 2, 3]);
    bench.hold(30);
    expect(new Set(bench.hold(3)).size).toBe(3);
  });
});

describe('two choices', () => {
  it('keeps the counts within a few of each other, where random does not', () => {
    const spread = (make: MakeBalancer) => {
      const backends = Array.from({ length: 50 }, (_, i) => i);
      const counts = new Array<number>(50).fill(0);
      for (const backend of new Bench(make, backends).hold(5000)) {
        counts[backend] = (counts[backend] ?? 0) + 1;
      }
      return Math.max(...counts) - Math.min(...counts);
    };
    expect(spread(twoChoices)).toBeLessThan(10);
    expect(spread(random)).toBeGreaterThan(20);
  });
});

describe('peak EWMA', () => {
  it('leaves who is slow nearly alone, and comes back as its peak is forgotten', () => {
    const bench = new Bench(peakEwma, [1, 2, 3, 4]);
    bench.counts(100, () => 5);
    const slow = bench.counts(1000, (backend) => (backend === 1 ? 2000 : 5));
    expect(slow.get(1) ?? 0).toBeLessThan(20);
    bench.nowMs += 120_000;
    expect(bench.counts(400, () => 5).get(1) ?? 0).toBeGreaterThan(20);
  });
});

describe('the hot-cold rule', () => {
  it('takes the quickest of the cold, and not who is hot, however quick', () => {
    const backends = Array.from({ length: 12 }, (_, i) => i + 1);
    const bench = new Bench(hotCold, backends);
    for (const backend of backends) bench.loads.set(backend, { inFlight: 3, latencyMs: 50 });
    bench.loads.set(1, { inFlight: 100, latencyMs: 1 });
    bench.loads.set(2, { inFlight: 3, latencyMs: 5 });
    const counts = bench.counts(1200);
    // A twelfth would be a hundred.
    expect(counts.get(2) ?? 0).toBeGreaterThan(300);
    expect(counts.get(1) ?? 0).toBeLessThan(50);
  });
});
