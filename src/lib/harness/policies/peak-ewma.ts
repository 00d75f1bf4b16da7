// Peak EWMA as Finagle and linkerd balance with it (com.twitter.finagle.loadbalancer.
// PeakEwma): of two backends at random the one of lesser cost, which is its latency times
// the requests under way there. The latency is a moving average that jumps to a peak at
// once and forgets it exponentially. Blind to errors, as published: a failure counts by
// the time it took.
import { exp2 } from '../../field/arithmetic.js';
import type { MakeBalancer } from '../balancer.js';
import { Roster, twoOf } from './roster.js';

/** Finagle's default decay time. */
const decayMs = 10_000;
const perLn2 = 1.4426950408889634;
/** The cost of a backend without history that has requests under way: worse than any (Finagle's penalty). */
const penaltyMs = 1e9;

export const peakEwma: MakeBalancer = (view) => {
  const roster = new Roster();
  let latencyMs = new Float64Array(0);
  let atMs = new Float64Array(0);

  /** Brings the average to now; with a sample if there is one. */
  const observe = (place: number, sampleMs: number) => {
    const nowMs = view.nowMs();
    const known = latencyMs[place] ?? 0;
    const kept = exp2((-Math.max(0, nowMs - (atMs[place] ?? 0)) / decayMs) * perLn2);
    atMs[place] = nowMs;
    latencyMs[place] = sampleMs > known ? sampleMs : known * kept + sampleMs * (1 - kept);
  };
  const cost = (place: number): number => {
    const pending = roster.pending[place] ?? 0;
    // An idle look decays the average, so that a backend is tried again.
    observe(place, 0);
    const known = latencyMs[place] ?? 0;
    return known === 0 && pending > 0 ? penaltyMs + pending : known * (pending + 1);
  };
  return {
    serve(backends) {
      const nextLatency = new Float64Array(backends.length);
      const nextAt = new Float64Array(backends.length);
      roster.serve(backends, (place, before) => {
        nextLatency[place] = before < 0 ? 0 : (latencyMs[before] ?? 0);
        nextAt[place] = before < 0 ? view.nowMs() : (atMs[before] ?? 0);
      });
      latencyMs = nextLatency;
      atMs = nextAt;
    },
    pick() {
      const { size } = roster;
      if (size < 2) return size === 0 ? -1 : roster.began(0);
      const [a, b] = twoOf(size, () => view.random());
      return roster.began(cost(b) < cost(a) ? b : a);
    },
    ended(_request, backend, tookMs) {
      const place = roster.ended(backend);
      if (place >= 0) observe(place, tookMs);
    },
  };
};
