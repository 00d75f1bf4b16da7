// The simulated world against queueing theory: one server and several, with arrivals
// and service times as Markov would have them. If it were off here, nothing that it says
// of a policy could be trusted.
import { describe, expect, it } from 'vitest';

import { simulate } from '../../src/lib/harness/run.js';
import { scenarioOf } from './worlds.js';

/** Mean time in a M/M/c queue (Erlang C), in milliseconds. */
function meanTimeMs(servers: number, arrivalsPerMs: number, serviceMs: number): number {
  const offered = arrivalsPerMs * serviceMs;
  const utilisation = offered / servers;
  let term = 1;
  let sum = 1;
  for (let k = 1; k < servers; k++) {
    term *= offered / k;
    sum += term;
  }
  const last = (term * offered) / servers / (1 - utilisation);
  const waits = last / (sum + last);
  return serviceMs + (waits * serviceMs) / (servers * (1 - utilisation));
}

/** So that each run has as many requests, however slowly they come. */
const requests = 60_000;

/** Means of answered requests, one for each seed. */
function simulated(servers: number, rate: number, seeds: number): number[] {
  const seconds = Math.ceil(requests / rate) + 10;
  const scenario = scenarioOf(`
title: M/M/${servers}
duration: ${seconds}s
backends:
  - { name: queue, count: 1, concurrency: ${servers}, service: { exponential: { mean: 10ms } } }
clients: { rate: ${rate}, timeout: 60s }
# Without the time in which the queue fills.
phases: { settled: { from: 10s, to: ${seconds}s } }
`);
  return Array.from({ length: seeds }, (_, seed) => {
    const { result } = simulate({ scenario, policy: 'random', seed });
    return result.phases[0]?.meanMs ?? NaN;
  });
}

/** The mean, and half the width of its 99 % confidence interval (Student's t, 7 degrees). */
function interval(values: readonly number[]) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
  return { mean, half: 3.499 * Math.sqrt(variance / values.length) };
}

describe.each([
  [1, 50],
  [1, 70],
  [4, 280],
  [16, 1400],
])('a queue of %i servers of 10 ms at %i requests a second', (servers, rate) => {
  it('takes as long as Erlang says', () => {
    const { mean, half } = interval(simulated(servers, rate, 8));
    const theory = meanTimeMs(servers, rate / 1000, 10);
    expect(Math.abs(mean - theory), `${mean} ± ${half}, theory ${theory}`).toBeLessThan(half);
    // An interval as wide as the truth itself would prove nothing.
    expect(half / theory).toBeLessThan(0.1);
  }, 60_000);
});
