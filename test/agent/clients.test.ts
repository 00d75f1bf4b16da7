// Several clients over the model: each has a lane as long as it dials, and what refuses is
// tried by the agent itself before any client is sent.
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent, type Dialled, type Senses } from '../../src/lib/agent/agent.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import type { DialOutcome } from '../../src/lib/field/types.js';
import { nothingSensed } from '../../src/lib/field/signals.js';
import { routeName } from '../../src/lib/routes/route-set.js';

const ms = 1_000_000n;
const vip = ipv4ToNumber('127.96.0.1');

let source: ModelSource;
let plane: Plane;
let agent: Agent;
let cookie: bigint;
let refusing: Set<number>;
/** What the agent was last asked to dial, and what its connects to 8002 meet. */
let wanted: readonly Dialled[];
let meets: DialOutcome | null;

const tick = (times = 1, milliseconds = 200) => {
  for (let i = 0; i < times; i++) {
    source.model.setNowNs(source.model.nowNs() + BigInt(milliseconds) * ms);
    agent.tick();
  }
};

/** Connects of one client; how many of them were refused by a backend. */
function dial(client: bigint, connects: number): number {
  let refused = 0;
  for (let i = 0; i < connects; i++) {
    const socket = source.model.socket(cookie++, client, 0, 0);
    const port = socket.connect(vip, 80)?.port;
    if (port !== undefined && refusing.has(port)) {
      socket.ended(1, 0, false);
      refused++;
    } else socket.established();
    socket.release();
  }
  return refused;
}

const used = () => plane.rtControl.read(1).clients.filter((client) => client !== 0).length;
const signalsOf = (port: number) =>
  agent.last?.inputs.routes[0]?.backends.find(({ id }) => id === `127.0.0.1:${port}`);
const circuitOf = (port: number) =>
  agent.last?.field.routes[0]?.backends.find(({ id }) => id === `127.0.0.1:${port}`)?.memory
    .circuit;

beforeEach(() => {
  source = new ModelSource(defaultKnobs);
  source.model.setNowNs(3_600_000n * ms);
  plane = source.plane();
  cookie = 1n;
  refusing = new Set();
  wanted = [];
  meets = null;
  const senses: Senses = {
    node: () => nothingSensed('this is a test'),
    app: () => null,
    dial: (_, backend) => {
      if (!wanted.some((one) => one.backend === backend)) return null;
      return backend === '127.0.0.1:8002' ? meets : 'open';
    },
    dialNext: (next) => {
      wanted = next;
    },
    hearsApps: false,
  };
  agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change(), senses });
  agent.serve([
    {
      name: routeName('shop/cart', 'http'),
      addresses: [{ vip: '127.96.0.1', port: 80, protocol: 'TCP' }],
      backends: [8001, 8002, 8003].map((port) => ({ address: '127.0.0.1', port })),
      affinity: { kind: 'none' },
      gear: 'auto',
    },
  ]);
  tick();
});

describe('a backend that refuses', () => {
  it('is dialled by the agent, and no client is sent until that succeeds', () => {
    dial(1n, 20);
    tick();
    refusing.add(8002);
    expect(dial(1n, 20)).toBe(2);
    meets = 'closed';
    tick();
    // And one that is well, without which a connect that fails would say nothing.
    expect(wanted).toEqual([
      { route: 'shop/cart:http', backend: '127.0.0.1:8001' },
      { route: 'shop/cart:http', backend: '127.0.0.1:8002' },
    ]);
    let lost = 0;
    for (let i = 0; i < 150; i++) {
      lost += dial(1n, 20);
      tick();
    }
    // Half a minute: seven probes by clients, otherwise.
    expect(lost).toBe(0);
    expect(circuitOf(8002)).toMatchObject({ kind: 'isolated', cause: 'errors' });
    refusing.clear();
    meets = 'open';
    for (let i = 0; i < 25; i++) {
      tick();
      expect(dial(1n, 60)).toBe(0);
    }
    expect(circuitOf(8002)).toMatchObject({ kind: 'admitted' });
    tick();
    expect(wanted).toEqual([]);
  });
});

describe('lanes of clients', () => {
  it('tell what each client saw, once there are two', () => {
    dial(1n, 30);
    tick();
    expect(agent.last?.inputs.routes[0]?.clients).toBe(1);
    expect(signalsOf(8001)?.clients).toEqual([]);
    dial(2n, 30);
    tick();
    expect(agent.last?.inputs.routes[0]?.clients).toBe(2);
    dial(1n, 30);
    dial(2n, 60);
    tick();
    let connects = 0;
    for (const port of [8001, 8002, 8003]) {
      const seen = signalsOf(port);
      const sum = seen?.clients.reduce((all, client) => all + client.connects, 0);
      expect(sum).toBe(seen?.connects);
      expect(seen?.clients).toHaveLength(2);
      connects += Math.max(...(seen?.clients ?? []).map((client) => client.connects));
    }
    expect(connects).toBe(60);
  });

  it('say whose connects were refused', () => {
    dial(1n, 30);
    dial(2n, 30);
    tick();
    refusing.add(8002);
    const refused = dial(2n, 30);
    expect(refused).toBeGreaterThan(0);
    tick();
    const failures = signalsOf(8002)?.clients.map((client) => client.failures);
    expect(failures?.sort()).toEqual([0, refused]);
  });

  it('are taken back from clients that have left: more than four get one each in time', () => {
    for (let client = 1n; client <= 12n; client += 2n) {
      // Two at a time, for two minutes each.
      for (let i = 0; i < 60; i++) {
        dial(client, 3);
        dial(client + 1n, 3);
        tick(1, 2_000);
      }
      const mine = plane.rtControl.read(1).clients;
      expect(used()).toBe(2);
      dial(client, 10);
      dial(client + 1n, 10);
      tick();
      expect(plane.rtControl.read(1).clients).toEqual(mine);
      expect(agent.last?.inputs.routes[0]?.clients).toBe(2);
      const lanes = new Set<number>();
      for (const port of [8001, 8002, 8003]) {
        for (const one of signalsOf(port)?.clients ?? []) if (one.connects > 0) lanes.add(one.lane);
      }
      expect(lanes.size).toBe(2);
    }
  });

  it('are kept while a request waits, and where one client alone dials', () => {
    const socket = source.model.socket(cookie++, 1n, 0, 0);
    socket.connect(vip, 80);
    socket.established();
    socket.sent(0, false);
    dial(2n, 5);
    tick();
    for (let i = 0; i < 60; i++) {
      dial(2n, 1);
      tick(1, 2_000);
    }
    expect(used()).toBe(2);
    socket.release();
    for (let i = 0; i < 60; i++) {
      dial(2n, 1);
      tick(1, 2_000);
    }
    expect(used()).toBe(1);
    tick(60, 2_000);
    expect(used()).toBe(1);
  });
});
