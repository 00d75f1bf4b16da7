// The model behind the kernel's own interface: the same projector, the same
// decisions, over plain memory and a clock of the test's.
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent } from '../../src/lib/agent/agent.js';
import { defaultKnobs, makeKnobs } from '../../src/lib/config/knobs.js';
import { fillFallback } from '../../src/lib/dataplane/fallback-set.js';
import { ipv4ToNumber, ipv4ToText } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { Snapshot } from '../../src/lib/dataplane/snapshot.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';

const second = 1_000_000_000n;
const vip = ipv4ToNumber('127.96.1.1');

function route(backends: number, more: Partial<Route> = {}): Route {
  return {
    name: routeName('test/model', 'tcp'),
    addresses: [{ vip: '127.96.1.1', port: 80, protocol: 'TCP' }],
    backends: Array.from({ length: backends }, (_, i) => ({
      address: '127.0.0.1',
      port: 9001 + i,
    })),
    affinity: { kind: 'none' },
    gear: 'single',
    ...more,
  };
}

describe('the model', () => {
  let source: ModelSource;
  let plane: Plane;
  let agent: Agent;
  let cookie = 1n;
  const dial = () => source.model.socket(cookie++, 1n, 0, 0);

  beforeEach(() => {
    source = new ModelSource(defaultKnobs);
    source.model.setNowNs(3600n * second);
    plane = source.plane();
    agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
  });

  it('decides by the programs of the kernel, and shows the service as peer', () => {
    agent.serve([route(3)]);
    agent.tick();
    const socket = dial();
    const to = socket.connect(vip, 80);
    expect(to === null ? '' : ipv4ToText(to.address)).toBe('127.0.0.1');
    expect(socket.getpeername(to?.address ?? 0, to?.port ?? 0)).toEqual({ address: vip, port: 80 });
    expect(dial().connect(vip, 81)).toEqual({ address: vip, port: 81 });
  });

  it('gives the open count back however a flow ends', () => {
    agent.serve([route(1)]);
    agent.tick();
    const open = () => new Snapshot(plane).backends()[0]?.open;
    const [first, second_, third] = [dial(), dial(), dial()];
    for (const socket of [first, second_, third]) socket.connect(vip, 80);
    expect(open()).toBe(3);
    first.established();
    first.ended(5, 0, true);
    first.release();
    second_.ended(1, 0, false);
    second_.release();
    third.release();
    expect(open()).toBe(0);
    expect(new Snapshot(plane).backends()[0]?.counters).toMatchObject({
      closed: 1n,
      refused: 1n,
      abandoned: 1n,
    });
  });

  it('moves slots off a backend that refuses, and back when it returns', () => {
    agent.serve([route(4)]);
    agent.tick();
    for (let i = 0; i < 40; i++) {
      const socket = dial();
      const to = socket.connect(vip, 80);
      if (to?.port === 9002) socket.ended(1, 0, false);
      else socket.established();
      socket.release();
    }
    source.model.setNowNs(3600n * second + second / 5n);
    agent.tick();
    expect(new Snapshot(plane).backends()[1]).toMatchObject({ state: 'isolated', slots: 1 });
  });

  it('retires an index, and reuses it only under a new generation', () => {
    agent.serve([route(2)]);
    agent.tick();
    agent.serve([route(1)]);
    agent.tick();
    agent.serve([route(2, { gear: 'twin', backends: [{ address: '127.0.0.1', port: 9001 }] })]);
    agent.tick();
    const before = plane.backends.read(2);
    expect(before.state).not.toBe(1);
    for (let i = 0; i < 6; i++) {
      source.model.setNowNs(source.model.nowNs() + 3n * second);
      agent.serve([route(1 + (i % 3))]);
      agent.tick();
    }
    const generations = Array.from({ length: 6 }, (_, i) =>
      plane.backends.get(i + 1, 'generation'),
    );
    expect(Math.max(...generations)).toBeGreaterThan(1);
    expect(new Snapshot(plane).backends().filter(({ state }) => state === 'healthy')).toHaveLength(
      3,
    );
  });

  it('grows a route’s table, and moves no more than the newcomer’s first slot', () => {
    agent.serve([route(8)]);
    agent.tick();
    agent.serve([route(9)]);
    agent.tick();
    const [slots] = new Snapshot(plane).slots();
    expect(slots?.total).toBe(128);
    const counts = slots?.slots.map((slot) => slot.slots).sort((a, b) => a - b);
    expect(counts).toEqual([1, 15, ...Array<number>(7).fill(16)]);
  });

  it('withdraws a route and forgets it when both tables have', () => {
    agent.serve([route(2)]);
    agent.tick();
    agent.serve([]);
    agent.tick();
    expect(dial().connect(vip, 80)).toEqual({ address: vip, port: 80 });
    agent.tick();
    expect(new Snapshot(plane).routes()).toEqual([]);
  });

  it('refuses what does not fit before it writes anything', () => {
    agent.serve([route(2)]);
    agent.tick();
    const epoch = plane.word('epoch');
    const many = route(1, {
      backends: Array.from({ length: 5000 }, (_, i) => ({ address: '127.0.0.1', port: 1000 + i })),
    });
    expect(() => {
      agent.serve([many]);
    }).toThrow('5000 new backends are to be served, but the dataplane has room for 4093.');
    expect(new Snapshot(plane).routes()[0]?.backends).toBe(2);
    expect(plane.word('epoch')).toBe(epoch);
  });

  it('leaves the field alone while an operator holds it, and goes on beating', () => {
    agent.serve([route(2)]);
    agent.tick();
    plane.setWord('projectionHeldUntilNs', plane.nowNs() + second);
    agent.serve([route(3)]);
    source.model.setNowNs(plane.nowNs() + second / 2n);
    expect(agent.tick().outcome.kind).toBe('held');
    expect(plane.word('lastAgentSeenNs')).toBe(plane.nowNs());
    source.model.setNowNs(plane.nowNs() + second);
    expect(agent.tick().outcome.kind).toBe('projected');
  });
});

describe('the fallback set', () => {
  it('depends on the endpoints, not on their order, and is even', () => {
    const endpoints = Array.from({ length: 7 }, (_, i) => `10.0.0.${i}:80`);
    const named = (list: readonly string[]) => [...fillFallback(list, 64)].map((i) => list[i]);
    expect(named([...endpoints].reverse())).toEqual(named(endpoints));
    const counts = endpoints.map(
      (endpoint) => named(endpoints).filter((one) => one === endpoint).length,
    );
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  });

  it('moves few slots when an endpoint leaves', () => {
    const endpoints = Array.from({ length: 8 }, (_, i) => `10.0.0.${i}:80`);
    const before = [...fillFallback(endpoints, 256)].map((i) => endpoints[i]);
    const rest = endpoints.slice(1);
    const after = [...fillFallback(rest, 256)].map((i) => rest[i]);
    const moved = before.filter(
      (endpoint, i) => endpoint !== endpoints[0] && endpoint !== after[i],
    ).length;
    expect(moved).toBeLessThan(256 / 4);
  });
});

describe('knobs', () => {
  it('name themselves and their range when they are wrong', () => {
    expect(() => makeKnobs({ tickMs: 5 })).toThrow(
      'tickMs must be a whole number from 20 to 10000 (ms), not 5.',
    );
    expect(() => makeKnobs({ tikMs: 5 })).toThrow('There is no knob tikMs.');
    expect(() => makeKnobs({ tau1Ms: 5000, tau2Ms: 4000 })).toThrow(/HOLD|tau2Ms/);
    expect(() => makeKnobs({ sampleEvery: 3 })).toThrow('power of two');
  });
});
