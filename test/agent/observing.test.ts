// Routes that are only observed, over the model: the agent judges as ever, the kernel sends
// connects as if it did not, and both stay in step when a part of it is enforced.
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent } from '../../src/lib/agent/agent.js';
import { blended, ObservedRoute } from '../../src/lib/agent/observing.js';
import { makeKnobs, type Knobs } from '../../src/lib/config/knobs.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { Snapshot } from '../../src/lib/dataplane/snapshot.js';
import { nothingSensed } from '../../src/lib/field/signals.js';
import { step, type Law } from '../../src/lib/field/step.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';
import { idle } from '../field/world.js';

const ms = 1_000_000n;
const vip = ipv4ToNumber('127.96.0.1');
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

const cart: Route = {
  name: routeName('shop/cart', 'http'),
  addresses: [{ vip: '127.96.0.1', port: 80, protocol: 'TCP' }],
  backends: [8001, 8002, 8003, 8004].map((port) => ({ address: '127.0.0.1', port })),
  affinity: { kind: 'none' },
  gear: 'auto',
};

describe('slots in force', () => {
  const anyField = fc
    .array(fc.record({ slots: fc.integer({ min: 1, max: 60 }), out: fc.boolean() }), {
      minLength: 1,
      maxLength: 40,
    })
    .map((backends) => ({
      asked: backends.map(({ slots }) => slots),
      isolated: backends.map(({ out }) => out),
    }));

  it('keep the sum, whatever is asked', () => {
    fc.assert(
      fc.property(anyField, fc.integer({ min: 0, max: 99 }), ({ asked, isolated }, percent) => {
        const slots = blended(asked, isolated, percent);
        expect(sum(slots)).toBe(sum(asked));
        expect(Math.min(...slots)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('are even where nothing is enforced, but for one slot', () => {
    fc.assert(
      fc.property(anyField, ({ asked, isolated }) => {
        const slots = blended(asked, isolated, 0);
        expect(Math.max(...slots) - Math.min(...slots)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('lie in proportion between even and asked', () => {
    expect(blended([4, 20, 20, 20], [false, false, false, false], 50)).toEqual([10, 18, 18, 18]);
    expect(blended([4, 20, 20, 20], [false, false, false, false], 25)).toEqual([13, 17, 17, 17]);
  });

  it('leave an isolated backend its even share, for the kernel keeps the enforced from it', () => {
    expect(blended([1, 21, 21, 21], [true, false, false, false], 50)).toEqual([16, 16, 16, 16]);
    expect(blended([1, 9, 27, 27], [true, false, false, false], 100)).toEqual([16, 7, 21, 20]);
  });
});

describe('what a valve would have refused', () => {
  const signals = (picks: number) => ({
    ...{
      name: cart.name,
      slots: 64,
      refused: 0,
      clients: 1,
      override: null,
      latencyReferenceUs: null,
    },
    backends: [
      {
        ...idle('a', 64),
        ...{ picks, connects: picks, openMean: 0, firstByte: null, waiting: null },
      },
    ],
  });
  type Field = Parameters<ObservedRoute['see']>[0];
  const field = (valve: Partial<Field['valve']>) =>
    ({ backends: [], valve: { budgetPerSecond: null, burst: 5, ...valve } }) as unknown as Field;

  it('is all that came while it is hard, and what exceeds its budget while it is soft', () => {
    const route = new ObservedRoute(0, new Uint32Array(64));
    route.see(field({ mode: 'normal' }), signals(100), 1000);
    expect(route.wouldHaveRefused).toBe(0);
    // The burst and a second of the budget.
    route.see(field({ mode: 'soft', budgetPerSecond: 10 }), signals(100), 1000);
    expect(route.wouldHaveRefused).toBe(85);
    route.see(field({ mode: 'soft', budgetPerSecond: 10 }), signals(8), 1000);
    expect(route.wouldHaveRefused).toBe(85);
    route.see(field({ mode: 'hard' }), signals(7), 1000);
    expect(route.wouldHaveRefused).toBe(92);
  });
});

describe('an agent whose routes are observed', () => {
  let source: ModelSource;
  let plane: Plane;
  let agent: Agent;
  let cookie: bigint;

  const tick = () => {
    source.model.setNowNs(source.model.nowNs() + 200n * ms);
    return agent.tick();
  };
  /** Connects of one tick by backend; those to port 8002 are refused by it. Port 0: refused here. */
  const load = (connects: number) => {
    const met = new Map<number, number>();
    for (let i = 0; i < connects; i++) {
      const socket = source.model.socket(cookie++, 1n, 0, 0);
      const port = socket.connect(vip, 80)?.port ?? 0;
      met.set(port, (met.get(port) ?? 0) + 1);
      if (port === 8002) socket.ended(1, 0, false);
      else if (port !== 0) socket.established();
      socket.release();
    }
    return met;
  };
  const appoint = (
    knobs: Knobs,
    more: Partial<ConstructorParameters<typeof Agent>[0]> = {},
    routes: readonly Route[] = [cart],
  ) => {
    agent = new Agent({ plane, knobs, exclusively: (change) => change(), ...more });
    agent.serve(routes);
  };
  const judged = (percent: number, routes?: readonly Route[]) => {
    appoint(makeKnobs({ enforcePercent: percent }), {}, routes);
    tick();
    for (let i = 0; i < 5; i++) {
      load(40);
      tick();
    }
  };
  const inForce = () => {
    const snapshot = new Snapshot(plane);
    return snapshot.backends().map(({ state, slots }) => ({ state, slots }));
  };

  beforeEach(() => {
    const knobs = makeKnobs({});
    source = new ModelSource(knobs);
    source.model.setNowNs(3_600_000n * ms);
    plane = source.plane();
    cookie = 1n;
  });

  it('isolates nobody, while its law would', () => {
    judged(0);
    expect(agent.last?.field.routes[0]?.backends[1]).toMatchObject({ state: 'isolated', slots: 1 });
    expect(inForce()).toEqual(Array.from({ length: 4 }, () => ({ state: 'healthy', slots: 16 })));
    expect(Object.fromEntries(load(128))).toEqual({ 8001: 32, 8002: 32, 8003: 32, 8004: 32 });
    expect(agent.last?.observed.get(cart.name)).toMatchObject({
      percent: 0,
      wouldHaveIsolated: 1,
    });
  });

  it('does as the law asks where nothing is observed', () => {
    judged(100);
    expect(inForce()[1]).toEqual({ state: 'isolated', slots: 1 });
    expect(load(128).get(8002)).toBeUndefined();
    expect(agent.last?.observed.size).toBe(0);
  });

  it('does it for half of the connects', () => {
    judged(50);
    const met = load(6400).get(8002) ?? 0;
    // A half of a fair share, and a little: who passes it takes the next slot too.
    expect(met).toBeGreaterThan(700);
    expect(met).toBeLessThan(1100);
  });

  it('keeps its valve open, and counts what it would have refused', () => {
    const bare = nothingSensed('this is a test');
    const used = { value: 8e9 };
    appoint(makeKnobs({ enforcePercent: 0 }), {
      senses: {
        node: () => ({
          ...bare,
          usage: {
            ...bare.usage,
            memory: { kind: 'read', value: { used: (used.value += 8e7), limit: 1e10 } },
          },
        }),
        app: () => null,
        dial: () => null,
        dialNext: () => undefined,
        hearsApps: false,
      },
    });
    for (let i = 0; i < 30; i++) {
      expect(load(20).get(0)).toBeUndefined();
      tick();
    }
    expect(agent.last?.field.routes[0]?.valve.mode).not.toBe('normal');
    expect(new Snapshot(plane).routes()[0]).toMatchObject({
      ...{ admissionMode: 'normal', gear: 'single', refused: 0n, enforcedPercent: 0 },
    });
    expect(agent.last?.observed.get(cart.name)?.wouldHaveRefused).toBeGreaterThan(0);
  });

  it('enforces all within a tick when the service says so, and nothing when it says that', () => {
    judged(0);
    agent.serve([{ ...cart, enforcePercent: 100 }]);
    tick();
    expect(inForce()[1]).toEqual({ state: 'isolated', slots: 1 });
    expect(load(128).get(8002)).toBeUndefined();
    agent.serve([{ ...cart, enforcePercent: 0 }]);
    tick();
    expect(inForce()[1]).toEqual({ state: 'healthy', slots: 16 });
  });

  it('hears the nearest: the service, its namespace, the node', () => {
    const percents = () => {
      tick();
      return new Snapshot(plane).routes().map(({ enforcedPercent }) => enforcedPercent);
    };
    const enforceNamespaces = new Map([['shop', 25]]);
    appoint(makeKnobs({ enforcePercent: 60 }), { enforceNamespaces });
    expect(percents()).toEqual([25]);
    agent.serve([{ ...cart, enforcePercent: 0 }]);
    expect(percents()).toEqual([0]);
    appoint(makeKnobs({ enforcePercent: 60 }), { enforceNamespaces: new Map([['bank', 25]]) });
    expect(percents()).toEqual([60]);
    agent.retune(makeKnobs({ enforcePercent: 100 }));
    expect(percents()).toEqual([100]);
  });

  it('shows the law the slots that the law set, not those in force', () => {
    /** Takes one slot a tick from the second backend and gives it to the first. */
    const law: Law = (state, inputs, knobs) => {
      const stepped = step(state, inputs, knobs);
      const routes = stepped.field.routes.map((route) => ({
        ...route,
        backends: route.backends.map((backend, i) => ({
          ...backend,
          slots:
            backend.before === 0 || i > 1 ? backend.slots : backend.before + (i === 0 ? 1 : -1),
        })),
      }));
      return { ...stepped, field: { ...stepped.field, routes } };
    };
    const histories = [100, 50, 0].map((enforcePercent) => {
      source = new ModelSource(makeKnobs({}));
      source.model.setNowNs(3_600_000n * ms);
      plane = source.plane();
      appoint(makeKnobs({ enforcePercent }), { law });
      const seen = Array.from({ length: 9 }, () =>
        (tick().inputs.routes[0]?.backends ?? []).map(({ slots }) => slots),
      );
      return { seen: seen.at(-1), inForce: inForce().map(({ slots }) => slots) };
    });
    // The first tick deals 16 to each, and each later one moves one; the last is in force too.
    expect(histories).toEqual([
      { seen: [23, 9, 16, 16], inForce: [24, 8, 16, 16] },
      { seen: [23, 9, 16, 16], inForce: [20, 12, 16, 16] },
      { seen: [23, 9, 16, 16], inForce: [16, 16, 16, 16] },
    ]);
  });

  it('keeps what is observed over scaling, a restart and a foreign flip', () => {
    judged(0);
    const [first, ...others] = cart.backends;
    agent.serve([{ ...cart, backends: others }]);
    load(40);
    tick();
    expect(inForce().filter(({ state }) => state === 'healthy')).toHaveLength(3);
    expect(load(64 * 3).get(8001)).toBeUndefined();
    agent.serve([{ ...cart, backends: [...others, ...(first === undefined ? [] : [first])] }]);
    for (let i = 0; i < 3; i++) tick();
    const even = new Map([8001, 8002, 8003, 8004].map((port) => [port, 32]));
    expect(load(128)).toEqual(even);
    // Another agent adopts what it finds, and observes from there.
    appoint(makeKnobs({ enforcePercent: 0 }));
    tick();
    expect(load(128)).toEqual(even);
    plane.setWord('epoch', plane.word('epoch') + 1n);
    for (let i = 0; i < 3; i++) tick();
    expect(load(128)).toEqual(even);
  });
});
