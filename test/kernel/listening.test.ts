// What the kernel tells of its decisions, to whom and how much of it: the lease, the
// conditions and the budget of `nity trace`.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Counter } from '../../src/lib/dataplane/abi.js';
import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { cgroupId, cgroupPath } from '../../src/lib/dataplane/native.js';
import { codecs } from '../../src/lib/dataplane/plane.js';
import { StructArray, type Struct } from '../../src/lib/dataplane/struct.js';
import type { Route } from '../../src/lib/routes/route-set.js';
import { addressOf, Rig, unavailable } from './rig.js';

const nsPerMs = 1_000_000n;

describe.skipIf(unavailable !== undefined)('listening to decisions', () => {
  let rig: Rig;
  let route: Route;

  beforeEach(async () => {
    rig = new Rig();
    rig.start();
    route = rig.route(await rig.startServers(2));
    rig.serve([route]);
  });

  afterEach(async () => {
    await rig.stop();
  });

  const ask = (wanted: Partial<Struct<'trace'>>) => {
    new StructArray(codecs.trace, rig.plane.handle('trace').mmap(), 1).write(0, wanted);
  };
  const counted = (name: 'notedEventOverBudget' | 'notedEventLost') =>
    rig.snapshot.counters()[name];

  it('ends by itself when the lease is over', async () => {
    rig.plane.setWord('traceUntilNs', rig.plane.nowNs() + 200n * nsPerMs);
    await rig.dialMany(route, 2);
    expect(rig.events()).toHaveLength(2);
    await sleep(250);
    await rig.dialMany(route, 2);
    expect(rig.events()).toEqual([]);
    expect(counted('notedEventLost')).toBe(0n);
  });

  it('says who dialled, from which cgroup, to which backend, and what it cost', async () => {
    const { answer } = await rig.dial(route);
    const [event] = rig.events();
    const { vip, port } = addressOf(route);
    expect(event).toMatchObject({
      pid: process.pid,
      command: readFileSync('/proc/self/comm', 'utf8').trim().slice(0, 15),
      cgroupId: cgroupId(rig.cgroup),
      route: rig.handle(route),
      vip: ipv4ToNumber(vip),
      vipPort: port,
      protocol: 6,
      outcome: Counter.pickedGear,
      address: ipv4ToNumber('127.0.0.1'),
      port: rig.servers.find(({ name }) => name === answer)?.port,
    });
    // It measures something, and no clock that another one reads.
    expect(event?.costNs).toBeGreaterThan(0);
    expect(event?.costNs).toBeLessThan(10_000_000);
  });

  it('tells only what is asked for: a route, a backend, outcomes, a process', async () => {
    const other = rig.route(rig.servers);
    const empty = rig.route([]);
    rig.serve([route, other, empty]);
    const dialAll = async () => {
      await rig.dialMany(route, 4);
      await rig.dialMany(other, 2);
      await rig.dialMany(empty, 1);
      return rig.events();
    };
    expect(await dialAll()).toHaveLength(7);

    ask({ route: rig.handle(other) });
    const ofRoute = await dialAll();
    expect(ofRoute.map((event) => event.route)).toEqual(Array(2).fill(rig.handle(other)));

    const port = rig.servers[1]?.port ?? 0;
    ask({ route: 0, address: ipv4ToNumber('127.0.0.1'), port });
    const ofBackend = await dialAll();
    expect(ofBackend.map((event) => event.port)).toEqual([port, port, port]);

    ask({ address: 0, port: 0, outcomes: 1n << BigInt(Counter.refusedNoBackends) });
    const refused = await dialAll();
    expect(refused.map(({ outcome, port: none }) => [outcome, none])).toEqual([
      [Counter.refusedNoBackends, 0],
    ]);

    ask({ outcomes: 0n, pid: process.pid + 1 });
    expect(await dialAll()).toEqual([]);
    ask({ pid: process.pid });
    expect(await dialAll()).toHaveLength(7);
  });

  it('finds a cgroup by its id, until it is gone', () => {
    const below = join(rig.cgroup, 'below');
    mkdirSync(below);
    const id = cgroupId(below);
    expect(cgroupPath(cgroupRoot(), id)).toBe(below);
    rmdirSync(below);
    expect(cgroupPath(cgroupRoot(), id)).toBeUndefined();
  });

  it('tells no more than the budget, and counts what it keeps to itself', async () => {
    // Two a second, and two at once.
    ask({ tokenNs: 500n * nsPerMs, burstNs: 1000n * nsPerMs });
    const before = performance.now();
    await rig.dialMany(route, 40);
    const seconds = (performance.now() - before) / 1000;
    const told = rig.events().length;
    expect(told).toBeGreaterThanOrEqual(2);
    expect(told).toBeLessThanOrEqual(2 + Math.ceil(2 * seconds));
    expect(counted('notedEventOverBudget')).toBe(BigInt(40 - told));
  });
});
