// The agent's loop over the model: what it commands of the kernel, when it holds its
// hand, and which part of the traffic it has measured.
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent } from '../../src/lib/agent/agent.js';
import { sampling } from '../../src/lib/agent/sampling.js';
import { defaultKnobs, makeKnobs } from '../../src/lib/config/knobs.js';
import { BackendState } from '../../src/lib/dataplane/abi.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { nothingSensed } from '../../src/lib/field/signals.js';
import { step } from '../../src/lib/field/step.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';

const ms = 1_000_000n;
const vip = ipv4ToNumber('127.96.0.1');

describe('the agent', () => {
  let source: ModelSource;
  let plane: Plane;
  let agent: Agent;
  let cookie: bigint;

  const pass = (milliseconds: number) => {
    source.model.setNowNs(source.model.nowNs() + BigInt(milliseconds) * ms);
  };
  const tick = () => {
    pass(200);
    return agent.tick();
  };
  /** Connects of one tick; those to the backend on port 8002 are refused. */
  const load = (connects: number) => {
    let refused = 0;
    for (let i = 0; i < connects; i++) {
      const socket = source.model.socket(cookie++, 1n, 0, 0);
      if (socket.connect(vip, 80)?.port === 8002) {
        socket.ended(1, 0, false);
        refused++;
      } else socket.established();
      socket.release();
    }
    return refused;
  };
  const appoint = (senses?: ConstructorParameters<typeof Agent>[0]['senses']) => {
    agent = new Agent({
      plane,
      knobs: defaultKnobs,
      exclusively: (change) => change(),
      ...(senses === undefined ? {} : { senses }),
    });
    agent.serve([
      {
        name: routeName('shop/cart', 'http'),
        addresses: [{ vip: '127.96.0.1', port: 80, protocol: 'TCP' }],
        backends: [8001, 8002, 8003].map((port) => ({ address: '127.0.0.1', port })),
        affinity: { kind: 'none' },
        gear: 'auto',
      },
    ]);
  };
  const hold = (milliseconds: number) => {
    plane.setWord('projectionHeldUntilNs', source.model.nowNs() + BigInt(milliseconds) * ms);
  };
  const control = () => plane.rtControl.read(1);

  beforeEach(() => {
    source = new ModelSource(defaultKnobs);
    source.model.setNowNs(3_600_000n * ms);
    plane = source.plane();
    cookie = 1n;
    appoint();
    tick();
  });

  it('meters an isolated backend: none for two seconds, and then one connection', () => {
    expect(load(20)).toBe(2);
    expect(tick().field.routes[0]?.backends[1]).toMatchObject({ state: 'isolated', slots: 1 });
    let lost = 0;
    for (let i = 0; i < 9; i++) {
      lost += load(20);
      tick();
    }
    expect(lost).toBe(0);
    pass(300);
    expect(load(200)).toBe(1);
  });

  it('does so too when a hold kept it from saying so at the time', () => {
    hold(1000);
    expect(load(20)).toBe(2);
    const held = tick();
    expect(held.outcome.kind).toBe('held');
    // What is not in force is not told as if it were.
    expect(held.reasons.some(({ change }) => change.of === 'slots')).toBe(false);
    expect(plane.backends.get(2, 'state')).toBe(BackendState.healthy);
    for (let i = 0; i < 5; i++) tick();
    expect(plane.backends.get(2, 'state')).toBe(BackendState.isolated);
    expect(plane.backendLive.get(2, 'dripNs')).toBe(2000n * ms);
    expect(load(100)).toBe(0);
  });

  it('closes the valve with a budget when the node runs out of something, and tells why', () => {
    const used = { value: 8e9 };
    const bare = nothingSensed('this is a test');
    appoint({
      node: () => ({
        ...bare,
        usage: {
          ...bare.usage,
          memory: { kind: 'read', value: { used: used.value, limit: 1e10 } },
        },
      }),
      app: () => null,
      dial: () => null,
      dialNext: () => undefined,
      hearsApps: false,
    });
    for (let i = 0; i < 30; i++) {
      used.value += 1e7;
      load(20);
      tick();
    }
    expect(control()).toMatchObject({ admissionMode: 1 });
    expect(control().tokenNs).toBeGreaterThan(0n);
    for (let i = 0; i < 15; i++) {
      used.value += 8e7;
      tick();
    }
    expect(control()).toMatchObject({ admissionMode: 2 });
    expect(agent.last?.field.routes[0]?.valve.cause).toMatchObject({
      kind: 'ttf',
      resource: 'memory',
    });
    expect(source.model.socket(cookie++, 1n, 0, 0).connect(vip, 80)).toBeNull();
  });

  it('keeps what it serves until the new routes are whole', () => {
    const pay: Route = {
      name: routeName('shop/pay', 'http'),
      addresses: [{ vip: '127.96.0.2', port: 80, protocol: 'TCP' }],
      backends: [{ address: '127.0.0.1', port: 8001 }],
      affinity: { kind: 'none' },
      gear: 'auto',
    };
    const port = (address: number) => source.model.socket(cookie++, 1n, 0, 0).connect(address, 80);
    agent.serve([pay], false);
    tick();
    expect([8001, 8002, 8003]).toContain(port(vip)?.port);
    expect(port(vip + 1)?.port).toBe(8001);
    agent.serve([pay]);
    tick();
    tick();
    expect(agent.serves('shop/cart:http', '127.0.0.1:8001')).toBe(false);
    expect(agent.serves('shop/pay:http', '127.0.0.1:8001')).toBe(true);
  });

  it('projects the first field of a cluster however long it took, and no field of the past', () => {
    let tookMs = 1;
    const idle = new Agent({
      plane,
      knobs: defaultKnobs,
      exclusively: (change) => change(),
      law: (...given) => {
        pass(tookMs);
        return step(...given);
      },
    });
    idle.serve([]);
    const outcome = () => {
      pass(200);
      return idle.tick().outcome.kind;
    };
    for (let i = 0; i < 20; i++) outcome();
    tookMs = 1_000;
    idle.serve([
      {
        name: routeName('shop/pay', 'http'),
        addresses: [{ vip: '127.96.0.2', port: 80, protocol: 'TCP' }],
        backends: [{ address: '127.0.0.1', port: 8001 }],
        affinity: { kind: 'none' },
        gear: 'auto',
      },
    ]);
    expect(outcome()).toBe('projected');
    tookMs = 10_000;
    expect(outcome()).toBe('late');
  });

  it('obeys new knobs from the next tick on', () => {
    agent.retune(makeKnobs({ suspectFailures: 0, isolateAfter: 1 }));
    // Without suspects the kernel passes over nobody; a tick later the agent has judged.
    expect(load(30)).toBeGreaterThan(5);
    expect(tick().field.routes[0]?.backends[1]?.state).toBe('isolated');
  });

  it('measures a part of the flows when there are many, and all of them again when not', () => {
    for (let i = 0; i < 20; i++) {
      load(1000);
      tick();
    }
    expect(control().latencyMask).toBeGreaterThanOrEqual(7);
    for (let i = 0; i < 60; i++) {
      load(1);
      tick();
    }
    expect(control().latencyMask).toBe(0);
  });
});

describe('sampling', () => {
  const none = { mask: 0, skip: 0 };

  it('is of everything while there is little', () => {
    expect(sampling({ flowsPerSecond: 900, answersPerSecond: 1900 }, 10, 100, none)).toEqual(none);
  });

  it('halves flows and exchanges until few enough are left', () => {
    const rates = { flowsPerSecond: 30_000, answersPerSecond: 30_000 };
    expect(sampling(rates, 10, 100, none)).toEqual({ mask: 31, skip: 15 });
  });

  it('passes over 63 exchanges of 64 at most, so that a hung one is seen to', () => {
    const rates = { flowsPerSecond: 1, answersPerSecond: 1e9 };
    expect(sampling(rates, 1, 100, none).skip).toBe(63);
  });

  it('is not toggled by a rate near an edge', () => {
    let before = none;
    const seen = new Set<number>();
    for (let i = 0; i < 100; i++) {
      const flowsPerSecond = i % 2 === 0 ? 990 : 1010;
      before = sampling({ flowsPerSecond, answersPerSecond: 0 }, 10, 100, before);
      if (i > 1) seen.add(before.mask);
    }
    expect(seen.size).toBe(1);
  });
});
