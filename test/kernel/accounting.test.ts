// The books of the kernel: open counts that never leak, ends told apart by cause,
// and a bucket that never over-admits.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { writeOverride } from '../../src/lib/dataplane/control.js';
import { Reconciler } from '../../src/lib/dataplane/reconcile.js';
import { refusedHere } from './refusal.js';
import { dial, Rig, unavailable, until } from './rig.js';

describe.skipIf(unavailable !== undefined)('accounting', () => {
  let rig: Rig;

  beforeEach(() => {
    rig = new Rig();
    rig.start();
  });

  afterEach(async () => {
    await rig.stop();
  });

  it('counts back to zero after 10,000 connects that end in every way there is', async () => {
    const [plain, refusing] = await rig.startServers(2);
    const route = rig.route([plain ?? { port: 0 }, refusing ?? { port: 0 }]);
    rig.serve([route]);
    const beat = setInterval(() => {
      rig.projector.heartbeat();
    }, 200);
    const half = rig.sockets('endings', route, 10_000);
    await sleep(100);
    refusing?.close();
    await half;
    clearInterval(beat);
    await until(() => rig.snapshot.backends().every(({ open }) => open === 0));
    const { counters } = rig.backend(0);
    expect(counters.established).toBeGreaterThan(3000n);
    // Every pick has one end: established and over, refused, abandoned, or never sent.
    for (const view of rig.snapshot.backends()) {
      const { picks, refused, timedOut, unreachable, abandoned, reset, closed } = view.counters;
      const { unsent } = view.counters;
      expect(refused + timedOut + unreachable + abandoned + reset + closed + unsent).toBe(picks);
    }
    // Those whose source was taken already.
    expect(counters.unsent).toBeGreaterThan(100n);
    expect(rig.snapshot.counters()['endedUnsent']).toBe(
      rig.backend(0).counters.unsent + rig.backend(1).counters.unsent,
    );
    expect(rig.snapshot.counters()['notedUntracked']).toBe(0n);
  });

  it('lists the sockets that hold a flow, and none after they are closed; or says why not', async () => {
    const [server] = await rig.startServers(1, true);
    const route = rig.route(rig.servers);
    rig.serve([route]);
    const held = rig.dial(route);
    await until(() => rig.backend(0).open === 1 && server?.sockets.size === 1);
    const listed = {
      socketsMissing: null,
      flows: [
        {
          kind: 'socket',
          route: route.name,
          backend: `127.0.0.1:${server?.port}`,
          phase: 'established',
        },
      ],
    };
    const refused = { socketsMissing: refusedHere, flows: [] };
    expect(rig.snapshot.flows()).toMatchObject(refusedHere === null ? listed : refused);
    server?.close();
    await held;
    await until(() => rig.snapshot.flows().flows.length === 0);
  });

  it('gives the count back when the listener goes away under its clients', async () => {
    const [server] = await rig.startServers(1, true);
    const route = rig.route(rig.servers);
    rig.serve([route]);
    const held = Array.from({ length: 20 }, () => rig.dial(route));
    await until(() => server?.sockets.size === 20);
    expect(rig.backend(0).open).toBe(20);
    server?.close();
    await Promise.all(held);
    await until(() => rig.backend(0).open === 0);
  });

  it('gives the count back of a socket closed in SYN_SENT, and of one that timed out', async () => {
    const [gone] = await rig.startServers(1);
    gone?.close();
    const route = rig.route(rig.servers);
    rig.serve([route]);
    await rig.sockets('silent', route, gone?.port ?? 0);
    const { counters, open, consecutiveFailures } = rig.backend(0);
    expect(open).toBe(0);
    expect(counters).toMatchObject({ picks: 2n, established: 0n, abandoned: 1n, timedOut: 1n });
    expect(counters.unheard).toBe(1n);
    // Nothing of the one that gave up; of the other each repeated SYN, and the end.
    expect(counters.retransmits).toBeGreaterThan(0n);
    expect(consecutiveFailures).toBe(Number(counters.retransmits) + 1);
  });

  it('notices a SYN that nobody answers when it is repeated, long before it times out', async () => {
    const [gone] = await rig.startServers(1);
    gone?.close();
    const route = rig.route(rig.servers);
    rig.serve([route]);
    await rig.sockets('unheard', route, gone?.port ?? 0, 1500);
    const { counters, open, consecutiveFailures } = rig.backend(0);
    expect(consecutiveFailures).toBeGreaterThan(0);
    expect(counters).toMatchObject({ abandoned: 1n, unheard: 1n, timedOut: 0n });
    expect(open).toBe(0);
  });

  it('takes a connect that sent nothing for no failure of the backend', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    await rig.sockets('unsent', route, 8);
    const { counters, open, consecutiveFailures, suspect, suspectForOne } = rig.backend(0);
    expect(counters).toMatchObject({ picks: 8n, unsent: 8n, abandoned: 0n, unreachable: 0n });
    expect({ open, consecutiveFailures, suspect, suspectForOne }).toEqual({
      open: 0,
      consecutiveFailures: 0,
      suspect: false,
      suspectForOne: false,
    });
  });

  it('takes a fast-open socket for unused until its SYN, and times it from there', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const answers = await rig.sockets('ahead', route, 4);
    expect(answers.trim().split('\n')).toEqual(['server-0', 'server-0']);
    const { counters, open, consecutiveFailures } = rig.backend(0);
    expect(counters).toMatchObject({ picks: 4n, unsent: 2n, established: 2n, abandoned: 0n });
    // Each was opened 250 ms before it was used.
    expect(Number(counters.connectNs) / 1e6).toBeLessThan(500);
    expect(consecutiveFailures).toBe(0);
    await until(() => rig.backend(0).open === 0);
    expect(open).toBeLessThanOrEqual(1);
  });

  it('tells a refusal from an orderly end, and times what connected', async () => {
    const [server] = await rig.startServers(1);
    const route = rig.route(rig.servers);
    rig.serve([route]);
    await rig.dialMany(route, 3);
    server?.close();
    await rig.dialMany(route, 1);
    await until(() => rig.backend(0).counters.refused === 1n);
    const { counters, connectP95Us } = rig.backend(0);
    expect(counters).toMatchObject({ established: 3n, closed: 3n, reset: 0n, timedOut: 0n });
    expect(counters.connectHistogram.reduce((a, b) => a + b, 0)).toBe(3);
    expect(connectP95Us).toBeGreaterThan(1);
    expect(counters.bytesReceived).toBeGreaterThanOrEqual(BigInt(3 * 'server-0'.length));
  });

  it('knows the time-mean of open connections from two words', async () => {
    const [server] = await rig.startServers(1, true);
    const route = rig.route(rig.servers);
    rig.serve([route]);
    const integral = () => {
      const { open, occupancyNs } = rig.plane.backendLive.read(rig.backendIndex(route, 0));
      return BigInt.asIntN(64, occupancyNs + BigInt(open) * rig.plane.nowNs());
    };
    const held = [rig.dial(route), rig.dial(route), rig.dial(route)];
    await until(() => rig.backend(0).open === 3);
    const [from, fromNs] = [integral(), rig.plane.nowNs()];
    await sleep(300);
    const mean = Number(integral() - from) / Number(rig.plane.nowNs() - fromNs);
    expect(mean).toBeCloseTo(3, 2);
    server?.close();
    await Promise.all(held);
  });

  it('never admits more than burst + rate × time, with eight processes at the bucket', async () => {
    const servers = await rig.startServers(2);
    const route = rig.route(servers);
    rig.serve([route]);
    const budget = { ratePerSecond: 200, burst: 50 };
    const began = performance.now();
    writeOverride(rig.plane, rig.controlIndex(route), {
      mode: 'soft',
      expiresNs: rig.plane.nowNs() + 60_000_000_000n,
      budget,
    });
    const lines = await Promise.all(
      Array.from({ length: 8 }, () => rig.sockets('dial', route, 1500)),
    );
    const seconds = (performance.now() - began) / 1000;
    const admitted = lines.reduce((sum, line) => sum + Number(line.split(' ')[0]), 0);
    const refused = lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
    expect(admitted).toBeLessThanOrEqual(budget.burst + budget.ratePerSecond * seconds);
    // And it does admit: 1.5 s of the rate at least.
    expect(admitted).toBeGreaterThan(200);
    expect(refused).toBeGreaterThan(1000);
    const counters = rig.snapshot.counters();
    expect(counters['refusedSoft']).toBe(BigInt(refused) - counters['refusedContended']);
  });

  it('samples one decision in so many, by the route’s own count', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    rig.plane.fieldState.write(0, { sampleMask: 7 });
    await rig.dialMany(route, 32);
    expect(rig.events()).toHaveLength(4);
  });

  it('puts right an open count that the sockets contradict twice, where they are listed', async () => {
    const [server] = await rig.startServers(1, true);
    const route = rig.route(rig.servers);
    rig.serve([route]);
    const held = [rig.dial(route), rig.dial(route)];
    await until(() => rig.backend(0).open === 2);
    const index = rig.backendIndex(route, 0);
    rig.plane.backendLive.write(index, { open: 7 });
    const reconciler = new Reconciler(rig.plane);
    const compared = (corrected: number) => refusedHere ?? { kind: 'compared', corrected };
    expect(reconciler.run([index])).toEqual(compared(0));
    expect(rig.backend(0).open).toBe(7);
    expect(reconciler.run([index])).toEqual(compared(1));
    const after = refusedHere === null ? 2 : 7;
    expect(rig.backend(0).open).toBe(after);
    server?.close();
    await Promise.all(held);
    await until(() => rig.backend(0).open === after - 2);
  });

  it('counts nothing of a connect that dials a backend itself', async () => {
    const [server] = await rig.startServers(1);
    rig.serve([rig.route(rig.servers)]);
    await dial('127.0.0.1', server?.port ?? 0);
    expect(rig.snapshot.counters()['notedEstablished']).toBe(0n);
  });
});
