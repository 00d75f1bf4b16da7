// What test/agent/histories.test.ts proves in memory, in short, on the kernel and with real
// sockets: services, addresses and agents come and go, and each server says whose it is.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';

import { Agent } from '../../src/lib/agent/agent.js';
import { makeKnobs } from '../../src/lib/config/knobs.js';
import { fieldFaults } from '../../src/lib/dataplane/field-faults.js';
import { flip } from '../../src/lib/dataplane/flip.js';
import { tableOf } from '../../src/lib/dataplane/plane.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';
import { watchedPlane } from '../agent/watched-plane.js';
import { dial, Rig, unavailable, type NamedServer } from './rig.js';

const seed = Number(process.env['NITY_PROPERTY_SEED'] ?? 20_260_101);
const knobs = makeKnobs({});
const [services, addresses] = [3, 4];

class Killed extends Error {}

describe.skipIf(unavailable !== undefined)('on the kernel, whatever happens to a node', () => {
  let rig: Rig;
  let agent: Agent | undefined;
  let writesLeft = Infinity;
  let servers: NamedServer[];
  /** The first server of each service. */
  let firstOf: (service: number) => number;

  const vip = (address: number) => `127.96.${process.pid % 250}.${241 + address}`;
  const appoint = () => {
    const plane = watchedPlane(rig.plane, () => {
      if (writesLeft-- <= 0) throw new Killed();
    });
    agent = new Agent({ plane, knobs, exclusively: (change) => change() });
  };
  const made = (service: number, backends: number, vips: readonly string[]): Route => ({
    name: routeName(`test/s${service}`, 'tcp'),
    addresses: vips.map((address) => ({ vip: address, port: 80, protocol: 'TCP' })),
    backends: servers
      .slice(firstOf(service), firstOf(service) + backends)
      .map(({ port }) => ({ address: '127.0.0.1', port })),
    affinity: { kind: 'none' },
    gear: 'auto',
  });
  /** What an agent does, until it is killed. */
  const alive = (act: (agent: Agent) => void) => {
    try {
      if (agent === undefined) appoint();
      if (agent !== undefined) act(agent);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      agent = undefined;
    }
    writesLeft = Infinity;
  };

  beforeEach(async () => {
    rig = new Rig();
    rig.start();
    servers = await rig.startServers(2 * services);
    firstOf = (service) => 2 * service;
    writesLeft = Infinity;
    agent = undefined;
  });
  afterEach(() => rig.stop());

  it('every connect is answered by its own service, and each address is served in two ticks', async () => {
    const backends = new Array<number>(services).fill(1);
    const owners = new Array<number | null>(addresses).fill(null);
    const routes = () =>
      backends.flatMap((count, service) =>
        count === 0
          ? []
          : [
              made(
                service,
                count,
                owners.flatMap((owner, i) => (owner === service ? [vip(i)] : [])),
              ),
            ],
      );
    const steps = fc.sample(
      fc.record({
        kind: fc.constantFrom('move', 'move', 'scale', 'swap', 'restart', 'kill', 'flip', 'index'),
        service: fc.nat(services - 1),
        address: fc.nat(addresses - 1),
        other: fc.nat(addresses - 1),
        count: fc.nat(2),
        writes: fc.nat(60),
      }),
      { numRuns: 40, seed },
    );
    for (const { kind, service, address, other, count, writes } of steps) {
      if (kind === 'scale') backends[service] = count;
      else if (kind === 'move') owners[address] = service;
      else if (kind === 'swap') {
        [owners[address], owners[other]] = [owners[other] ?? null, owners[address] ?? null];
      } else if (kind === 'restart') agent = undefined;
      else if (kind === 'kill') writesLeft = writes;
      else if (kind === 'flip' && agent !== undefined) {
        const { plane } = rig;
        const isWhole = plane.tableEpoch(tableOf(plane.word('epoch') + 1n)) !== 0n;
        if (isWhole) flip(plane, { holdMs: 0, force: true, dryRun: false });
      }
      alive((own) => {
        own.serve(routes());
        own.tick();
      });
      // Whoever was killed has a successor, which knows all from the start.
      for (let i = 0; i < 4; i++) {
        alive((own) => {
          own.serve(routes());
          expect(own.tick()).toMatchObject({ violations: [] });
        });
      }
      for (const [i, owner] of owners.entries()) {
        const isServed = owner !== null && (backends[owner] ?? 0) > 0;
        const known = [...rig.snapshot.routes()].flatMap((view) => view.addresses);
        expect(known.some((one) => one.vip === vip(i))).toBe(isServed);
        if (!isServed) continue;
        const own = servers
          .slice(firstOf(owner), firstOf(owner) + (backends[owner] ?? 0))
          .map(({ name }) => name);
        expect(own).toContain((await dial(vip(i), 80)).answer);
      }
      expect(fieldFaults(rig.plane, tableOf(rig.plane.word('epoch')))).toMatchObject({
        astray: [],
        ranges: [],
        fallbacks: [],
        addresses: [],
      });
    }
  });

  it('two services that swap their addresses lose no connect to either', async () => {
    const [x, y] = [vip(0), vip(1)];
    const pair = (isSwapped: boolean) => [
      made(0, 2, [isSwapped ? y : x]),
      made(1, 2, [isSwapped ? x : y]),
    ];
    const now = (isSwapped: boolean) => {
      alive((own) => {
        own.serve(pair(isSwapped));
        own.tick();
      });
    };
    now(false);
    now(false);
    const translated = () =>
      rig.snapshot.routes().reduce((sum, { picks, refused }) => sum + picks + refused, 0n);
    const clients = Promise.all(pair(false).map((route) => rig.sockets('dial', route, 1_500)));
    const run = { isOver: false };
    void clients.finally(() => (run.isOver = true)).catch(() => undefined);
    let swaps = 0;
    for (; !run.isOver; swaps++) {
      now(swaps % 2 === 0);
      await sleep(2);
    }
    const totals = (await clients).map((line) => line.split(' ').map(Number));
    expect(swaps).toBeGreaterThan(10);
    // One that met the address while it was nobody's would have been left alone.
    const dialled = totals.flat().reduce((sum, count) => sum + count, 0);
    expect(translated()).toBe(BigInt(dialled));
    expect(totals.map(([, refused]) => refused)).toEqual([0, 0]);
    expect(rig.snapshot.counters()['refusedBoundary']).toBe(0n);
  });

  it('an index that a wrong allocator gives out twice leads nobody to another’s backend', async () => {
    const first = made(0, 2, [vip(0)]);
    alive((own) => {
      own.serve([first]);
      own.tick();
    });
    expect(['server-0', 'server-1']).toContain((await dial(vip(0), 80)).answer);
    alive((own) => {
      const { book } = own.projector;
      const index = book.routes.get(first.name)?.index ?? 0;
      book.routeIndexes.allocate = () => index;
      own.serve([first, made(1, 2, [vip(1)])]);
      own.tick();
    });
    for (let i = 0; i < 8; i++) {
      expect((await dial(vip(0), 80)).answer).toBe('ECONNREFUSED');
      expect(['server-2', 'server-3', 'ECONNREFUSED']).toContain((await dial(vip(1), 80)).answer);
    }
    expect(rig.snapshot.counters()['refusedBoundary']).toBeGreaterThanOrEqual(8n);
  });
});
