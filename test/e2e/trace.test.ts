// `nity trace` over a real dataplane, with real connects of this very process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Limit } from '../../src/lib/dataplane/abi.js';
import { openPlane } from '../../src/lib/dataplane/pins.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { dial, ownCgroup, unavailable } from '../kernel/rig.js';
import { Desk, type Outcome } from './desk.js';

interface Line {
  readonly kind: string;
  readonly pid: number;
  readonly route: string;
  readonly outcome: string;
  readonly rationed: number;
}

describe.skipIf(unavailable !== undefined)('nity trace', () => {
  const home = ownCgroup();
  let desk: Desk;
  let plane: Plane;
  const enter = (cgroup: string) => {
    writeFileSync(join(cgroup, 'cgroup.procs'), String(process.pid));
  };
  const leased = () =>
    plane.fieldState.get(0, 'traceUntil') > Number(plane.nowNs() >> BigInt(Limit.traceWindowShift));

  /** What it tells while this process connects to "cart" and "pay" in turn. */
  async function trace(...args: string[]): Promise<Outcome & { readonly lines: Line[] }> {
    const running = desk.nity('trace', ...args);
    await expect.poll(leased, { timeout: 5_000 }).toBe(true);
    // Nobody listens there: a connect is decided all the same.
    for (let i = 0; i < 400 && leased(); i++) {
      await dial(`127.96.202.${1 + (i % 2)}`, 80);
      // Slower than the thousand a second that are told without being asked for.
      await sleep(2);
    }
    const outcome = await running;
    const lines = args.includes('--json')
      ? outcome.stdout
          .split('\n')
          .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))
      : [];
    return { ...outcome, lines };
  }

  beforeAll(async () => {
    desk = new Desk();
    desk.serve({ cart: 2, pay: 2 });
    await desk.agent();
    plane = openPlane(desk.pinPath);
    enter(desk.cgroup);
  });
  afterAll(async () => {
    enter(home);
    plane.close();
    await desk.close();
  });

  it('tells who dialled, where it was sent, how that was decided and what it cost', async () => {
    const { code, stdout, stderr } = await trace('--count', '3', '-o', 'wide');
    expect(code).toBe(0);
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(head).toMatch(/^TIME +PID +COMMAND +ROUTE +SLOT +BACKEND +OUTCOME +COST +CGROUP$/);
    expect(rows).toHaveLength(3);
    for (const row of rows) {
      expect(row).toMatch(
        /^\d\d:\d\d:\d\d\.\d{3} +\d+ \S.* shop\/(cart|pay):http +\d+ 127\.0\.0\.1:30[01]0[01] +(gear|twin) +\d+(ns|µs) /,
      );
      expect(row).toContain(` ${process.pid} `);
      expect(row.endsWith(`/${desk.name}`)).toBe(true);
    }
    expect(stderr).toBe('3 decisions told\n');
    expect(leased()).toBe(false);
  });

  it('passes over what was not asked for', async () => {
    const { lines } = await trace('--route', 'shop/pay:http', '--for', '1s', '--json');
    expect(lines.length).toBeGreaterThan(5);
    expect(new Set(lines.map(({ route }) => route))).toEqual(new Set(['shop/pay:http']));
    const nobody = await trace('--pid', '1', '--for', '1s', '--json');
    expect(nobody.lines).toEqual([]);
    expect(nobody.stderr).toMatch(/^0 decisions told, \d+ passed over by the filters\n$/);
  });

  it('shows what was refused, and why', async () => {
    await desk.nity('set-mode', 'hard', '--route', 'shop/cart:http', '--ttl', '1m');
    const { lines } = await trace('--outcome', 'refused', '--count', '2', '--json');
    await desk.nity('set-mode', 'auto', '--route', 'shop/cart:http');
    expect(lines.filter(({ kind }) => kind === 'decision')).toMatchObject([
      { route: 'shop/cart:http', decision: 'refused', outcome: 'hard', backend: null, slot: null },
      { outcome: 'hard', admissionMode: 'hard', pid: process.pid },
    ]);
  });

  it('counts what is beyond its limit, within the stream', async () => {
    const { lines } = await trace('--limit', '10', '--for', '1500ms', '--json');
    const untold = lines.filter(({ kind }) => kind === 'untold');
    expect(untold.at(-1)?.rationed).toBeGreaterThan(100);
    expect(lines.filter(({ kind }) => kind === 'decision').length).toBeLessThan(60);
  });

  it('is for one at a time, and is over by itself when it is killed', async () => {
    const cli = join(import.meta.dirname, '../../bin/run.js');
    const first = spawn(process.execPath, [cli, 'trace'], {
      env: desk.environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await expect.poll(leased, { timeout: 5_000 }).toBe(true);
    const second = await desk.nity('trace', '--for', '1s');
    expect(second.code).toBe(5);
    expect(second.stderr).toMatch(/^Error: Somebody else traces this node.*\n→ /);
    first.kill('SIGKILL');
    await once(first, 'exit');
    // Its lease still stands, and is waited for.
    expect(leased()).toBe(true);
    const before = (await desk.nity('inspect', 'counters', '--json')).stdout;
    await sleep(2_300);
    await dial('127.96.202.1', 80);
    const told = (json: string) => /"notedEvent\w+":"?(\d+)/g.exec(json)?.[0];
    expect(told((await desk.nity('inspect', 'counters', '--json')).stdout)).toBe(told(before));
    expect((await trace('--count', '1')).code).toBe(0);
  });

  it('refuses what it cannot do', async () => {
    const none = await desk.nity('trace', '--route', 'shop/none:http');
    expect([none.code, none.stderr]).toEqual([
      2,
      'Error: There is no route shop/none:http.\n→ Take a name or an address from `nity inspect routes`.\n',
    ]);
    expect((await desk.nity('trace', '--outcome', 'lost')).code).toBe(2);
    expect((await desk.nity('trace', '--for', 'ever')).code).toBe(2);
    expect((await desk.nity('trace', '--pin-path', '/sys/fs/bpf/nity-none')).code).toBe(4);
  });
});
