// Decisions that are told to whoever asks: for as long as it asks, as many as it asks for.
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Limit } from '../../src/lib/dataplane/abi.js';
import { Rig, unavailable } from './rig.js';

describe.skipIf(unavailable !== undefined)('the kernel', () => {
  let rig: Rig;

  beforeEach(() => {
    rig = new Rig();
    rig.start();
  });
  afterEach(async () => {
    await rig.stop();
  });

  it('tells one decision in so many, by the route’s own count', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    rig.plane.fieldState.write(0, { sampleMask: 7 });
    await rig.dialMany(route, 32);
    expect(rig.events()).toHaveLength(4);
  });

  it('tells no decision once the lease of whoever traces has lapsed', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const window = Number(rig.plane.nowNs() >> BigInt(Limit.traceWindowShift));
    rig.plane.fieldState.write(0, { traceUntil: window + 4 });
    await rig.dial(route);
    expect(rig.events()).toHaveLength(1);
    await sleep(700);
    await rig.dial(route);
    rig.plane.fieldState.write(0, { traceUntil: 0 });
    await rig.dial(route);
    expect(rig.events()).toEqual([]);
    expect(rig.snapshot.counters()['notedEventRationed']).toBe(0n);
  });

  it('tells no more decisions than the ration of a window, and counts the others', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    rig.plane.fieldState.write(0, { traceRation: 3 });
    const began = performance.now();
    await rig.dialMany(route, 200);
    const windows = Math.ceil((performance.now() - began) / 134.2) + 1;
    const told = rig.events().length;
    expect(told).toBeGreaterThanOrEqual(3);
    expect(told).toBeLessThanOrEqual(3 * windows);
    expect(rig.snapshot.counters()['notedEventRationed']).toBe(BigInt(200 - told));
  });

  it('tells the decisions of one route alone when it is asked to', async () => {
    const [one, other] = await rig.startServers(2);
    const [wanted, unwanted] = [rig.route([one ?? { port: 0 }]), rig.route([other ?? { port: 0 }])];
    rig.serve([wanted, unwanted]);
    const index = rig.projector.book.routes.get(wanted.name)?.index ?? 0;
    rig.plane.fieldState.write(0, { traceRoute: index });
    await rig.dial(unwanted);
    await rig.dial(wanted);
    const events = rig.events();
    expect(events.map(({ route }) => route)).toEqual([index]);
    // Who dialled: this very process, in the rig's cgroup.
    expect(events[0]).toMatchObject({
      pid: process.pid,
      cgroup: statSync(rig.cgroup, { bigint: true }).ino,
    });
    expect(events[0]?.costNs).toBeGreaterThan(0);
  });
});
