// Each clause of "one decision" (RFC 0003, 0004), on real sockets. A connect that
// succeeds proves nothing: every test asks who answered.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Counter } from '../../src/lib/dataplane/abi.js';
import { clearOverride, writeOverride } from '../../src/lib/dataplane/control.js';
import { flip } from '../../src/lib/dataplane/flip.js';
import { rangeOf, tableOf } from '../../src/lib/dataplane/plane.js';
import { addressOf, dial, Rig, unavailable, until } from './rig.js';

const inMs = (rig: Rig, ms: number) => rig.plane.nowNs() + BigInt(ms) * 1_000_000n;
const flipNow = { holdMs: 0, force: false, dryRun: false };

describe.skipIf(unavailable !== undefined)('one decision', () => {
  let rig: Rig;

  beforeEach(() => {
    rig = new Rig();
    rig.start();
  });

  afterEach(async () => {
    await rig.stop();
  });

  it('sends a connect to a service address to one of its backends, and shows the service as peer', async () => {
    const servers = await rig.startServers(2);
    const route = rig.route(servers);
    rig.serve([route]);
    const { answer, peer } = await rig.dial(route);
    expect(servers.map(({ name }) => name)).toContain(answer);
    expect(peer).toBe(`${addressOf(route).vip}:80`);
  });

  it('leaves every other connect alone', async () => {
    const [server] = await rig.startServers(1);
    rig.serve([rig.route(rig.servers)]);
    const { answer, peer } = await dial('127.0.0.1', server?.port ?? 0);
    expect(answer).toBe('server-0');
    expect(peer).toBe(`127.0.0.1:${server?.port}`);
    expect(rig.events()).toEqual([]);
  });

  it('serves IPv4 dialled from an AF_INET6 socket', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const { answer, peer } = await rig.dial(route, { family: 6 });
    expect(answer).toBe('server-0');
    expect(peer).toBe(`::ffff:${addressOf(route).vip}:80`);
  });

  it('keeps the ports of one address apart', async () => {
    const [first, second] = await rig.startServers(2);
    const http = rig.route([first ?? { port: 0 }]);
    const { vip } = addressOf(http);
    const admin = rig.route([second ?? { port: 0 }], {
      addresses: [{ vip, port: 81, protocol: 'TCP' }],
    });
    rig.serve([http, admin]);
    expect((await dial(vip, 80)).answer).toBe('server-0');
    expect((await dial(vip, 81)).answer).toBe('server-1');
  });

  it('gives exact shares by the single gear', async () => {
    const route = rig.route(await rig.startServers(3));
    rig.serve([route], [32, 16, 16]);
    const answers = await rig.dialMany(route, 128);
    expect(Object.fromEntries(answers)).toEqual({ 'server-0': 64, 'server-1': 32, 'server-2': 32 });
  });

  it('draws a second slot by the twin gear, so that the busier backend yields', async () => {
    const [busy, idle] = await rig.startServers(2, true);
    const route = rig.route([busy ?? { port: 0 }, idle ?? { port: 0 }], { gear: 'twin' });
    rig.serve([route]);
    // As though 50 requests waited at the first: every flow is measured, so they are its load.
    rig.plane.backendLive.write(rig.backendIndex(route, 0), { waiting: 50 });
    const before = [rig.backend(0).picks, rig.backend(1).picks];
    const dials = Array.from({ length: 64 }, () => rig.dial(route));
    await until(() => rig.backend(0).picks + rig.backend(1).picks === 64n);
    const toBusy = Number(rig.backend(0).picks - (before[0] ?? 0n));
    // Both draws must fall on the busy one: a quarter of the turns, give or take.
    expect(toBusy).toBeLessThan(28);
    expect(rig.snapshot.counters()['pickedTwin']).toBeGreaterThan(8n);
    busy?.close();
    idle?.close();
    await Promise.all(dials);
  });

  it('refuses with ECONNREFUSED when hard, and counts it by reason', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const entry = rig.projector.book.routes.get(route.name);
    if (entry === undefined) throw new Error('not served');
    rig.projector.setAdmission(entry, 'hard', null);
    expect((await rig.dial(route)).answer).toBe('ECONNREFUSED');
    expect(rig.snapshot.counters()['refusedHard']).toBe(1n);
    expect(rig.snapshot.routes()[0]?.refused).toBe(1n);
  });

  it('admits by the budget when soft: the burst, then the rate', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const index = rig.controlIndex(route);
    const budget = { ratePerSecond: 1, burst: 5 };
    writeOverride(rig.plane, index, { mode: 'soft', expiresNs: inMs(rig, 60_000), budget });
    const answers = await rig.dialMany(route, 20);
    expect(answers.get('server-0')).toBe(5);
    expect(answers.get('ECONNREFUSED')).toBe(15);
    expect(rig.snapshot.counters()['refusedSoft']).toBe(15n);
  });

  it('ends an override by itself, with no agent alive', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    writeOverride(rig.plane, rig.controlIndex(route), { mode: 'hard', expiresNs: inMs(rig, 400) });
    expect((await rig.dial(route)).answer).toBe('ECONNREFUSED');
    await sleep(450);
    expect((await rig.dial(route)).answer).toBe('server-0');
  });

  it('lets the operator’s override win over the agent’s mode, until it is cleared', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const entry = rig.projector.book.routes.get(route.name);
    if (entry === undefined) throw new Error('not served');
    rig.projector.setAdmission(entry, 'hard', null);
    writeOverride(rig.plane, entry.index, { mode: 'normal', expiresNs: inMs(rig, 60_000) });
    expect((await rig.dial(route)).answer).toBe('server-0');
    clearOverride(rig.plane, entry.index);
    expect((await rig.dial(route)).answer).toBe('ECONNREFUSED');
  });

  it('keeps a client on its backend by affinity, until that backend leaves', async () => {
    const servers = await rig.startServers(3);
    const affinity = { kind: 'clientIP', timeoutSeconds: 60 } as const;
    const route = rig.route(servers, { affinity });
    rig.serve([route]);
    const { answer } = await rig.dial(route);
    expect(await rig.dialMany(route, 12)).toEqual(new Map([[answer, 12]]));
    const left = servers.filter(({ name }) => name !== answer);
    rig.serve([{ ...route, backends: left.map(({ port }) => ({ address: '127.0.0.1', port })) }]);
    const { answer: next } = await rig.dial(route);
    expect(left.map(({ name }) => name)).toContain(next);
  });

  it('forgets an affinity when its time is over', async () => {
    const servers = await rig.startServers(4);
    const route = rig.route(servers, { affinity: { kind: 'clientIP', timeoutSeconds: 1 } });
    rig.serve([route]);
    await rig.dial(route);
    await sleep(1100);
    rig.events();
    await rig.dial(route);
    expect(rig.events()[0]?.outcome).toBe(Counter.pickedGear);
  });

  it('remembers the backend of a client that binds its own source port', async () => {
    const servers = await rig.startServers(4);
    const route = rig.route(servers);
    rig.serve([route]);
    const answers = await rig.sockets('bound', route, 8);
    expect(new Set(answers.trim().split('\n')).size).toBe(1);
    expect(rig.snapshot.counters()['pickedConntrack']).toBe(7n);
  });

  it('passes over a backend after two failures, and tries it again with one probe', async () => {
    const servers = await rig.startServers(2);
    const route = rig.route(servers);
    rig.serve([route]);
    servers[0]?.close();
    const answers = await rig.dialMany(route, 64);
    expect(answers.get('ECONNREFUSED')).toBe(2);
    expect(answers.get('server-1')).toBe(62);
    await servers[0]?.listen();
    await sleep(1050);
    const after = await rig.dialMany(route, 16);
    expect(after.get('server-0')).toBeGreaterThanOrEqual(7);
    expect(rig.snapshot.counters()['notedSuspectProbed']).toBe(1n);
  });

  it('lets one client’s failures decide for that client alone', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route]);
    // A network namespace in which nobody listens: another client than this process.
    const answers = await rig.sockets('as', route, 0, 1, 12);
    expect(new Set(answers.trim().split('\n'))).toEqual(new Set(['ECONNREFUSED']));
    for (const position of [0, 1]) {
      expect(rig.backend(position)).toMatchObject({ suspect: false, suspectForOne: true });
      expect(rig.backend(position).consecutiveFailures).toBeGreaterThanOrEqual(2);
    }
    expect(Object.fromEntries(await rig.dialMany(route, 16))).toEqual({
      'server-0': 8,
      'server-1': 8,
    });
    expect(rig.backend(0).consecutiveFailures).toBe(0);
  });

  it('takes what two users saw for everybody’s, until another succeeds', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    // Each in a network namespace of its own; those of one user bear each other no witness.
    for (let times = 0; times < 4; times++) await rig.sockets('as', route, 65_534, 1, 1);
    expect(rig.backend(0).suspect).toBe(false);
    await rig.sockets('as', route, 65_533, 1, 1);
    expect(rig.backend(0)).toMatchObject({ suspect: true, suspectForOne: false });
    expect((await rig.dial(route)).answer).toBe('server-0');
    expect(rig.backend(0)).toMatchObject({ suspect: false, consecutiveFailures: 0 });
  });

  it('tells clients apart by their user, and not by their process', async () => {
    const [server] = await rig.startServers(1);
    const route = rig.route(rig.servers);
    rig.serve([route]);
    server?.close();
    await rig.sockets('as', route, 65_534, 0, 1);
    await rig.sockets('as', route, 65_534, 0, 1);
    expect(rig.backend(0)).toMatchObject({ suspect: false, suspectForOne: true });
    await rig.sockets('as', route, 65_533, 0, 1);
    expect(rig.backend(0)).toMatchObject({ suspect: true, suspectForOne: false });
  });

  it('never passes over every backend: suspicion cannot empty a route', async () => {
    const servers = await rig.startServers(2);
    const route = rig.route(servers);
    rig.serve([route]);
    for (const server of servers) server.close();
    await rig.dialMany(route, 10);
    const refusals = Object.entries(rig.snapshot.counters()).filter(
      ([name, count]) => name.startsWith('refused') && count > 0n,
    );
    expect(refusals).toEqual([]);
    await servers[1]?.listen();
    await sleep(2100);
    expect([...(await rig.dialMany(route, 12)).keys()]).toContain('server-1');
  });

  it('refuses at once, and counts, a route without backends', async () => {
    const route = rig.route([]);
    rig.serve([route]);
    expect((await rig.dial(route)).answer).toBe('ECONNREFUSED');
    expect(rig.snapshot.counters()['refusedNoBackends']).toBe(1n);
  });

  it('refuses a slot that names another route’s backend, and counts it as a boundary', async () => {
    const [own, foreign] = await rig.startServers(2);
    const mine = rig.route([own ?? { port: 0 }]);
    const other = rig.route([foreign ?? { port: 0 }]);
    rig.serve([mine, other]);
    const table = tableOf(rig.plane.word('epoch'));
    const range = rig.plane.rtControl.get(rig.controlIndex(mine), 'slotRange')[table] ?? 0n;
    const { base, size } = rangeOf(range);
    rig.plane.slotTables[table].fill(rig.backendIndex(other, 0), base, base + size);
    expect(await rig.dialMany(mine, 4)).toEqual(new Map([['ECONNREFUSED', 4]]));
    expect(rig.snapshot.counters()['refusedBoundary']).toBe(4n);
    expect(rig.backend(1).picks).toBe(0n);
  });

  it('refuses a slot that names a free, a missing or no backend', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const table = tableOf(rig.plane.word('epoch'));
    const { base, size } = rangeOf(
      rig.plane.rtControl.get(rig.controlIndex(route), 'slotRange')[table] ?? 0n,
    );
    for (const owner of [900, 0xffff_ffff, 0]) {
      rig.plane.slotTables[table].fill(owner, base, base + size);
      expect((await rig.dial(route)).answer).toBe('ECONNREFUSED');
    }
    expect(rig.snapshot.counters()).toMatchObject({ refusedBoundary: 2n, refusedIncomplete: 1n });
  });

  it('passes over a retired backend that a rolled-back table still names', async () => {
    const servers = await rig.startServers(2);
    const route = rig.route(servers);
    rig.serve([route]);
    rig.serve([{ ...route, backends: route.backends.slice(1) }]);
    flip(rig.plane, flipNow);
    expect(await rig.dialMany(route, 12)).toEqual(new Map([['server-1', 12]]));
  });

  it('goes to the fallback set when a table is not what its epoch says', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route]);
    rig.plane.setTableEpoch(tableOf(rig.plane.word('epoch')), 0n);
    expect((await rig.dial(route)).answer).toMatch(/^server-/);
    expect(rig.events().map(({ outcome }) => outcome)).toEqual([Counter.pickedFallback]);
    expect(rig.snapshot.counters()['notedRewritten']).toBe(1n);
  });

  it('decides again for a connect that is retried on the same socket, and counts one open', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route]);
    const answers = await rig.sockets('retry', route, 8);
    expect(answers.trim().split('\n').sort()).toEqual([
      ...Array<string>(4).fill('server-0'),
      ...Array<string>(4).fill('server-1'),
    ]);
    expect([rig.backend(0).open, rig.backend(1).open]).toEqual([0, 0]);
  });
});
