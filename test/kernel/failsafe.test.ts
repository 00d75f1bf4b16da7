// HOLD and FALLBACK: what the kernel does when the agent is slow or dead, and
// what a flip may and may not do meanwhile (RFC 0003).
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Counter, FailsafeMode } from '../../src/lib/dataplane/abi.js';
import { readField } from '../../src/lib/dataplane/control.js';
import { flip } from '../../src/lib/dataplane/flip.js';
import { otherTable, tableOf } from '../../src/lib/dataplane/plane.js';
import { UnsafeError } from '../../src/lib/errors.js';
import { Rig, unavailable, until } from './rig.js';

/** Longer than any test: a stage lasts until a test ends it, however busy the machine is. */
const wholeTestMs = 600_000;
const flipNow = { holdMs: 0, force: false, dryRun: false };

describe.skipIf(unavailable !== undefined)('failsafe', () => {
  let rig: Rig;

  beforeEach(() => {
    rig = new Rig();
    rig.start({ tau1Ms: wholeTestMs, tau2Ms: 2 * wholeTestMs });
  });

  /** Lets the heartbeat of now be as old as HOLD, or FALLBACK, asks for: in 100 ms of real time. */
  const outlive = async (stage: 'hold' | 'fallback') => {
    const afterNs = rig.plane.nowNs() - rig.plane.word('lastAgentSeenNs') + 100_000_000n;
    const limits = { holdAfterNs: afterNs, fallbackAfterNs: 2n * BigInt(wholeTestMs) * 1_000_000n };
    rig.plane.fieldState.write(
      0,
      stage === 'hold' ? limits : { ...limits, fallbackAfterNs: afterNs + 1n },
    );
    await until(() => readField(rig.plane).failsafeMode === stage);
  };

  afterEach(async () => {
    await rig.stop();
  });

  it('holds the field after τ1 and falls back after τ2, and serves every connect', async () => {
    const route = rig.route(await rig.startServers(3));
    rig.serve([route]);
    rig.projector.heartbeat();
    const modesOf = async (connects: number) => {
      for (let i = 0; i < connects; i++) {
        expect((await rig.dial(route)).answer).toMatch(/^server-/);
      }
      return [...new Set(rig.events().map(({ failsafeMode }) => failsafeMode))];
    };
    expect(await modesOf(20)).toEqual([FailsafeMode.normal]);
    await outlive('hold');
    expect(await modesOf(20)).toEqual([FailsafeMode.hold]);
    await outlive('fallback');
    expect(await modesOf(20)).toEqual([FailsafeMode.fallback]);
  });

  it('ignores, in HOLD, a flip made while stale, until a heartbeat confirms it', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route], [64, 0]);
    rig.serve([route], [0, 64]);
    rig.projector.heartbeat();
    expect((await rig.dial(route)).answer).toBe('server-1');
    await outlive('hold');
    // Not by the command, which refuses: by someone who writes the word.
    const epoch = rig.plane.word('epoch');
    rig.plane.setTableEpoch(otherTable(tableOf(epoch)), epoch + 1n);
    rig.plane.flipEpoch(epoch, epoch + 1n);
    expect((await rig.dial(route)).answer).toBe('server-1');
    rig.projector.heartbeat();
    expect((await rig.dial(route)).answer).toBe('server-0');
  });

  it('refuses to flip while stale, and with force moves the held epoch too', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route], [64, 0]);
    rig.serve([route], [0, 64]);
    rig.projector.heartbeat();
    await outlive('hold');
    const before = readField(rig.plane);
    expect(() => flip(rig.plane, flipNow)).toThrow(UnsafeError);
    expect(readField(rig.plane).epoch).toBe(before.epoch);
    flip(rig.plane, { ...flipNow, force: true });
    expect((await rig.dial(route)).answer).toBe('server-0');
  });

  it('refuses to flip to a table that is being written, even by force', () => {
    rig.serve([rig.route([{ port: 9 }])]);
    const epoch = rig.plane.word('epoch');
    rig.plane.setTableEpoch(otherTable(tableOf(epoch)), 0n);
    expect(() => flip(rig.plane, { ...flipNow, force: true })).toThrow(/incomplete/);
    expect(rig.plane.word('epoch')).toBe(epoch);
  });

  it('refuses to flip to a table from before its routes', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    expect(() => flip(rig.plane, flipNow)).toThrow(/incomplete/);
    expect((await rig.dial(route)).answer).toBe('server-0');
  });

  it('refuses to flip when the epoch is not the one expected', () => {
    rig.serve([rig.route([{ port: 9 }])]);
    expect(() => flip(rig.plane, { ...flipNow, expectEpoch: 99n })).toThrow(
      /somebody flipped first/,
    );
  });

  it('falls back by flow: the same flow meets the same backend, and none leaves the route', async () => {
    const mine = rig.route(await rig.startServers(4));
    const other = rig.route(await rig.startServers(2));
    rig.serve([mine, other]);
    await outlive('fallback');
    const answers = await rig.sockets('bound', mine, 6);
    expect(new Set(answers.trim().split('\n')).size).toBe(1);
    const all = await rig.dialMany(mine, 60);
    expect([...all.keys()].sort()).toEqual(['server-0', 'server-1', 'server-2', 'server-3']);
  });

  it('opens to soft what a dead agent left hard', async () => {
    const route = rig.route(await rig.startServers(1));
    rig.serve([route]);
    const entry = rig.projector.book.routes.get(route.name);
    if (entry === undefined) throw new Error('not served');
    rig.projector.setAdmission(entry, 'hard', null);
    rig.projector.heartbeat();
    await outlive('hold');
    expect((await rig.dial(route)).answer).toBe('ECONNREFUSED');
    await outlive('fallback');
    expect((await rig.dial(route)).answer).toBe('server-0');
  });

  it('moves no traffic when a new agent takes over', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route], [48, 16]);
    const next = rig.restartProjector();
    next.reconcile([route]);
    expect(next.project().kind).toBe('projected');
    const answers = await rig.dialMany(route, 64);
    expect(Object.fromEntries(answers)).toEqual({ 'server-0': 48, 'server-1': 16 });
  });

  it('follows a foreign flip instead of undoing it', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route], [64, 0]);
    rig.serve([route], [0, 64]);
    flip(rig.plane, flipNow);
    expect(rig.projector.project().kind).toBe('followed');
    expect((await rig.dial(route)).answer).toBe('server-0');
  });

  it('answers every connect by the table its epoch names, under four clients and 10,000 flips', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route], [64, 0]);
    rig.serve([route], [0, 64]);
    // The parity of the epoch now says which of the two backends a connect must meet.
    const last = rig.plane.word('epoch');
    const byTable = [
      rig.backendIndex(route, tableOf(last) === 0 ? 1 : 0),
      rig.backendIndex(route, tableOf(last) === 0 ? 0 : 1),
    ];
    const clients = Array.from({ length: 4 }, () => rig.sockets('dial', route, 2500));
    let flips = 0;
    const seen: { epoch: bigint; backend: number; outcome: number }[] = [];
    while (flips < 10_000) {
      for (let burst = 0; burst < 50; burst++, flips++) {
        const epoch = rig.plane.word('epoch');
        rig.plane.setTableEpoch(otherTable(tableOf(epoch)), epoch + 1n);
        rig.plane.flipEpoch(epoch, epoch + 1n);
      }
      rig.projector.heartbeat();
      seen.push(...rig.events());
      await sleep(5);
    }
    const totals = (await Promise.all(clients)).map((line) => line.split(' ').map(Number));
    seen.push(...rig.events());
    const picked = seen.filter(({ outcome }) => outcome === Counter.pickedGear);
    expect(picked.length).toBeGreaterThan(1000);
    const wrong = picked.filter(({ epoch, backend }) => byTable[tableOf(epoch)] !== backend);
    expect(wrong).toEqual([]);
    expect(totals.map(([, refused]) => refused)).toEqual([0, 0, 0, 0]);
    const counters = rig.snapshot.counters();
    expect(counters['refusedBoundary']).toBe(0n);
    expect(counters['refusedIncomplete']).toBe(0n);
  });
});
