// The evidence by example: what outcomes say of a backend, given what its peers show.
import { describe, expect, it } from 'vitest';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import {
  bitsOf,
  bitsOfWait,
  networkBits,
  serviceBits,
  waitingSinceAnswer,
} from '../../src/lib/field/evidence.js';
import { fadingMs, freshMemory, hear, remember } from '../../src/lib/field/memory.js';
import { peersOf, shareOf } from '../../src/lib/field/peers.js';
import type { BackendMemory, BackendSignals } from '../../src/lib/field/types.js';
import { idle } from './world.js';

const fresh = freshMemory(knobs);
const convictingBits = knobs.isolateEvidence;
const lone = peersOf([idle('a')], [fresh])[0];

/** Peers that had so many outcomes. */
function peers(more: object) {
  if (lone === undefined) throw new Error('one backend has peers');
  return { ...lone, ...more };
}

describe('a bad outcome', () => {
  it('says more the rarer it is among the peers, and nothing where all are bad', () => {
    expect(bitsOf(100, 100, 0)).toBeCloseTo(0, 1);
    expect(bitsOf(50, 100, 0)).toBeCloseTo(1, 1);
    expect(bitsOf(12, 100, 0)).toBeCloseTo(2.9, 1);
    expect(bitsOf(1, 1000, 0)).toBeGreaterThan(8.5);
  });

  it('says a third of what convicts at most: it takes three, however many peers there are', () => {
    for (const all of [18, 100, 1e6]) {
      expect(bitsOf(0, all, 0) * 2).toBeLessThan(convictingBits);
      // Laplace: eighteen good ones are the fewest of which three bad ones do.
      expect(bitsOf(0, all, 0) * 3).toBeGreaterThanOrEqual(convictingBits * 0.74);
    }
    expect(bitsOf(0, 0, 0)).toBe(0);
    expect(bitsOf(0, 2, 0) * 3).toBeLessThan(convictingBits / 2);
  });

  it('adds up, and a good one takes away what keeps 30 % of bad ones from adding up', () => {
    const others = peers({ connects: 1000, served: 1000 });
    const network = (failures: number, connects: number, before: BackendMemory = fresh) =>
      networkBits(before, { ...idle('a'), connects, failures }, others, 200, knobs);
    expect(network(3, 3)).toBeGreaterThanOrEqual(convictingBits);
    expect(network(2, 2)).toBeLessThan(convictingBits);
    expect(network(30, 100)).toBeCloseTo(0, 6);
    expect(network(35, 100)).toBeGreaterThan(0);
    const service = (unserved: number, served: number) =>
      serviceBits(fresh, { ...idle('a'), unserved, served }, others, 200, knobs);
    expect(service(3, 0)).toBeGreaterThanOrEqual(convictingBits);
    expect(service(3, 7)).toBeCloseTo(0, 6);
  });

  it('is forgotten while nothing happens, in tens of seconds', () => {
    let memory: BackendMemory = { ...fresh, networkBits: 20 };
    for (let i = 0; i < 100; i++) {
      const bits = networkBits(memory, idle('a'), peers({ connects: 10 }), 200, knobs);
      memory = { ...memory, networkBits: bits };
    }
    expect(memory.networkBits).toBeCloseTo(20 / Math.E, 0);
  });

  it('that ends a wait which was too long says what the wait said', () => {
    const before = { ...fresh, waitBits: convictingBits / 3, waitedLong: 3 };
    // One in eight of the peers' stays unserved: that alone would say three bits each.
    const others = peers({ served: 70, unserved: 10 });
    const ended = serviceBits(before, { ...idle('a'), unserved: 3 }, others, 200, knobs);
    expect(ended).toBeGreaterThanOrEqual(convictingBits);
  });
});

describe('a wait for an answer', () => {
  const waits = (ageMs: number, more: object = {}): BackendSignals => ({
    ...idle('a'),
    waiting: { count: 3, ageMs, answeredSince: false, ...more },
  });
  const seen = peers({ served: 100, typicalLog: 12, slowestLog: 18 });
  const bits = (signals: BackendSignals, others = seen) => bitsOfWait(signals, others, () => 200);

  it('says nothing as long as the peers’ slowest answer took, and then more by the octave', () => {
    // 2^18 µs are 262 ms.
    expect(bits(waits(250))).toBe(0);
    const few = peers({ served: 2, typicalLog: 12, slowestLog: 18 });
    expect(bits(waits(300), few)).toBeLessThan(bits(waits(600), few));
    // Beyond three octaves a heavy tail is no rarer.
    expect(bits(waits(2_200), few)).toBe(bits(waits(50_000), few));
  });

  it('says nothing when it is short, when others were answered since, or without peers', () => {
    expect(bits(waits(150), peers({ served: 100, typicalLog: 5, slowestLog: 6 }))).toBe(0);
    expect(bits(waits(5_000, { answeredSince: true }))).toBe(0);
    expect(bits(waits(5_000), peers({ served: 100 }))).toBe(0);
  });

  it('says little where the peers’ requests wait too', () => {
    const alike = peers({ served: 10, waiting: 10, typicalLog: 12, slowestLog: 18 });
    expect(bits(waits(5_000), alike)).toBeLessThan(1.1);
  });

  it('counts for the requests that were sent since the last answer, by the picks since then', () => {
    const after = (picksSinceAnswer: number) => ({
      ...fresh,
      picksSinceAnswer,
    });
    expect(waitingSinceAnswer(waits(1_000), after(10))).toBe(3);
    expect(waitingSinceAnswer(waits(1_000), after(1))).toBe(1);
    expect(waitingSinceAnswer(waits(1_000), after(0))).toBe(0);
  });
});

describe('what is remembered', () => {
  it('fades by wall time where much happens, and by the number of outcomes where little does', () => {
    const tau = (connects: number) => fadingMs({ ...fresh, connects }, knobs);
    expect(tau(1000)).toBe(knobs.latencyMs);
    expect(tau(20)).toBe(knobs.latencyMs);
    expect(tau(4)).toBe(knobs.latencyMs * 4);
    expect(tau(0)).toBe(knobs.latencyMs * 20);
  });

  it('is of several outcomes at one a second', () => {
    let memory = fresh;
    for (let i = 0; i < 600; i++) {
      const signals = { ...idle('a'), connects: i % 5 === 0 ? 1 : 0 };
      memory = remember(memory, signals, hear(memory, signals, 200, knobs), 200, knobs);
    }
    expect(memory.connects).toBeGreaterThan(6);
    expect(memory.connects).toBeLessThan(10);
  });
});

describe('a share of few outcomes', () => {
  it('is near a half (Laplace), and what was seen when there are many', () => {
    expect(shareOf(0, 0)).toBe(0.5);
    expect(shareOf(0, 2)).toBe(0.25);
    expect(shareOf(10, 990)).toBeCloseTo(0.011, 3);
  });
});
