// Routes that are handed over in parts: an address that moves from one to another is always
// somebody's, and nobody's backends are met under another's address.
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent } from '../../src/lib/agent/agent.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';

const ms = 1_000_000n;
const moving = '127.96.0.9';

/** A route with an address of its own and perhaps the one that moves; its backend's port tells it. */
function route(service: string, port: number, ...vips: readonly string[]): Route {
  return {
    name: routeName(`shop/${service}`, 'http'),
    addresses: vips.map((vip) => ({ vip, port: 80, protocol: 'TCP' })),
    backends: [{ address: '127.0.0.1', port }],
    affinity: { kind: 'none' },
    gear: 'auto',
  };
}

const oldOwner = route('a', 8001, '127.96.0.1', moving);
const without = route('a', 8001, '127.96.0.1');
const newOwner = route('b', 8002, '127.96.0.2', moving);
const third = route('c', 8003, '127.96.0.3');

describe('an address that moves between two parts', () => {
  let source: ModelSource;
  let plane: Plane;
  let agent: Agent;
  let cookie: bigint;

  const tick = () => {
    source.model.setNowNs(source.model.nowNs() + 200n * ms);
    return agent.tick();
  };
  /** The port of the backend that a connect is sent to; undefined for one that is left alone. */
  const led = (vip: string) => {
    const socket = source.model.socket(cookie++, 1n, 0, 0);
    const port = socket.connect(ipv4ToNumber(vip), 80)?.port;
    socket.release();
    return port === 80 ? undefined : port;
  };
  const hold = (forMs: bigint) => {
    plane.setWord('projectionHeldUntilNs', source.model.nowNs() + forMs * ms);
  };

  beforeEach(() => {
    source = new ModelSource(defaultKnobs);
    source.model.setNowNs(3_600_000n * ms);
    plane = source.plane();
    cookie = 1n;
    agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
    agent.serve([oldOwner]);
    tick();
    expect(led(moving)).toBe(8001);
  });

  it('is the new owner’s, though the old one gives it up later', () => {
    agent.serve([newOwner], false);
    tick();
    expect(led(moving)).toBe(8002);
    agent.serve([without, newOwner]);
    tick();
    expect(led(moving)).toBe(8002);
    expect(led('127.96.0.1')).toBe(8001);
  });

  it('is the new owner’s, though the old one is served no more', () => {
    agent.serve([newOwner], false);
    tick();
    agent.serve([newOwner]);
    tick();
    expect(led(moving)).toBe(8002);
    expect(led('127.96.0.1')).toBeUndefined();
  });

  it('is never met by a third, when no part is projected before the last', () => {
    hold(1_000n);
    agent.serve([newOwner], false);
    expect(tick().outcome.kind).toBe('held');
    agent.serve([newOwner]);
    expect(tick().outcome.kind).toBe('held');
    hold(0n);
    tick();
    expect(led(moving)).toBe(8002);
    // Indices that the old owner gave back go to others, after their time of grace.
    for (let i = 0; i < 20; i++) tick();
    agent.serve([newOwner, third]);
    tick();
    expect(led(moving)).toBe(8002);
    expect(led('127.96.0.3')).toBe(8003);
  });

  it('is nobody’s, when the new owner gives it up before it ever had it', () => {
    hold(1_000n);
    agent.serve([newOwner], false);
    tick();
    agent.serve([newOwner]);
    agent.serve([third]);
    hold(0n);
    tick();
    expect(led(moving)).toBeUndefined();
    expect(led('127.96.0.3')).toBe(8003);
  });
});
