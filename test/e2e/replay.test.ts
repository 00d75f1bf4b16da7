// What an agent recorded, replayed by the built command line: after kill -9, on demand,
// at a change, beside a full disk; and the exit codes of every kind of trace.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { PinRoom } from '../kernel/pin-room.js';
import { unavailable, until } from '../kernel/rig.js';
import { goldenDirectory, goldenName } from '../recorder/golden.js';
import { ticksOf, traceOf } from '../recorder/traces.js';
import { nity as run } from './shell.js';

const own = `nity-test-replay-${process.pid}`;
const room = new PinRoom(own);
const directory = mkdtempSync(join(tmpdir(), 'nity-replay-'));
const cli = join(import.meta.dirname, '../../bin/run.js');
const environment = {
  ...process.env,
  NITY_PIN_PATH: room.pinPath,
  NITY_RUN_DIR: directory,
  NITY_AUDIT_LOG: join(directory, 'audit.jsonl'),
};
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const nity = (...args: readonly string[]) => run(args, environment);

interface Document {
  readonly ticks: number;
  readonly ok: boolean;
  readonly identical: boolean;
  readonly firstDivergence: unknown;
  readonly gaps: readonly { readonly why: string; readonly ticks: number }[];
  readonly routes: readonly { readonly route: string }[];
  readonly reasons: readonly { readonly change: string }[];
}

async function replayed(...args: string[]): Promise<Document> {
  const { stdout } = await nity('replay', ...args, '--json');
  return JSON.parse(stdout) as Document;
}

function saved(name: string, bytes: Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

const golden = join(goldenDirectory, goldenName);
const troubled = ticksOf(150, {}, (world, tick) => {
  if (tick === 40) world.behaviours.set('c', { slower: 20 });
  if (tick === 50) world.behaviours.set('d', 'refusing');
  if (tick === 80) world.behaviours.clear();
});
const trouble = saved('trouble.trace', traceOf(troubled));

describe('nity replay', () => {
  it('shows what a trace holds, and exits 0 when the law says the same', async () => {
    const { code, stdout, stderr } = await nity('replay', golden);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('59 ticks from 201ms to 12.0s');
    expect(stdout).toContain('Identical: every field');
    expect(stdout).toMatch(/shop\/cart:http: 4 backends, 64 slots, \d+ moved in \d+ ticks/);
    expect(stdout).toMatch(/admission {2}·+▒+/);
    expect(stdout).toMatch(/^ {2}c {10}[▂-█]+▁+/m);
    expect(stdout).toMatch(/slots +isolation +\d+/);
    expect(stdout).toContain('tick 51 before 10.4s: the disk was full');
  });

  it('has one document for machines', async () => {
    expect(await replayed(golden)).toMatchObject({
      schemaVersion: 1,
      trace: golden,
      ticks: 59,
      ok: true,
      identical: true,
      firstDivergence: null,
      comparison: { basis: 'same', divergentTicks: 0 },
      routes: [{ route: 'shop/cart:http' }, { route: 'shop/quiet:http' }],
      cutTails: [],
    });
  });

  it('exits 1 at a divergence, with the tick, the route, the expected and the got', async () => {
    const lie = troubled.map((tick, i) => {
      if (i !== 70) return tick;
      const routes = tick.field.routes.map((route) => ({ ...route, regime: 'crisis' as const }));
      return { ...tick, field: { ...tick.field, routes } };
    });
    const path = saved('lie.trace', traceOf(lie));
    const { code, stdout } = await nity('replay', path);
    expect(code).toBe(1);
    expect(stdout).toContain('Diverges in 1 tick, first in tick 71 at 14.0s, r');
    expect(stdout).toContain('regime: expected crisis, got transition');
    const machine = await nity('replay', path, '--json');
    expect(machine.code).toBe(1);
    expect(JSON.parse(machine.stdout)).toMatchObject({
      identical: false,
      firstDivergence: { sequence: 71, route: 'r', expected: 'crisis', got: 'transition' },
    });
  });

  it('exits 2 for what is damaged or no trace, with the offset', async () => {
    const bytes = readFileSync(golden);
    const at = 10_000;
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    const path = saved('damaged.trace', bytes);
    const damaged = await nity('replay', path);
    expect(damaged).toMatchObject({ code: 2, stdout: '' });
    const [, offset = ''] =
      /damaged\.trace, byte (\d+): (?:a|the head of a) record does not match/.exec(
        damaged.stderr,
      ) ?? [];
    expect(Number(offset)).toBeLessThanOrEqual(at);
    expect(Number(offset)).toBeGreaterThan(at - 4000);
    expect((await nity('replay', path, '--to', '2s')).code).toBe(0);
    const foreign = await nity('replay', join(import.meta.dirname, 'replay.test.ts'), '--json');
    expect(foreign.code).toBe(2);
    expect(JSON.parse(foreign.stdout)).toMatchObject({
      error: {
        code: 'BAD_INPUT',
        message: expect.stringContaining('byte 0: this is not a trace') as string,
      },
    });
    expect((await nity('replay', join(directory, 'nowhere.trace'))).code).toBe(2);
    expect((await nity('replay')).code).toBe(2);
  });

  it('reads a trace whose end is cut, and says where', async () => {
    const bytes = readFileSync(golden);
    const path = saved('cut.trace', bytes.subarray(0, bytes.length - 7));
    const { code, stdout } = await nity('replay', path);
    expect(code).toBe(0);
    expect(stdout).toContain('58 ticks');
    expect(stdout).toMatch(/the end of .*cut\.trace: it stops within a record; .* byte \d+/);
  });

  it('looks at a part, and at one route', async () => {
    const part = await replayed(golden, '--from', '2s', '--to', '4s', '--route', 'shop/quiet:http');
    expect(part).toMatchObject({ ok: true, routes: [{ route: 'shop/quiet:http' }] });
    expect(part.ticks).toBe(10);
    const wrong: readonly string[][] = [
      ['--from', '4s', '--to', '2s'],
      ['--from', '1h'],
      ['--from', 'soon'],
      ['--route', 'shop/none:http'],
      ['--knob', 'viscose=1'],
      ['--knob', 'viscosity=7'],
      ['--output', join(directory, 'x.json')],
    ];
    for (const args of wrong) {
      const { code, stderr } = await nity('replay', golden, ...args);
      expect(code, args.join(' ')).toBe(2);
      expect(stderr).toMatch(/^Error: .+\n→ .+\n$/);
    }
  });

  it('tries other knobs, and shows the difference instead of failing', async () => {
    const { code, stdout } = await nity('replay', trouble, '--knob', 'viscosity=0.01');
    expect(code).toBe(0);
    expect(stdout).toContain('Tried with viscosity=0.01');
    expect(stdout).toMatch(/ROUTE +TICKS +FIRST +SLOTS MOVED/);
    expect(stdout).toContain('as recorded');
    expect(await replayed(trouble, '--knob', 'viscosity=0.01')).toMatchObject({
      ok: true,
      identical: false,
      firstDivergence: null,
      comparison: { basis: 'other-knobs', knobs: { viscosity: 0.01 }, routes: [{ route: 'r' }] },
    });
  });

  it('exports trace events, to a file beside the summary or to stdout alone', async () => {
    interface Events {
      readonly traceEvents: readonly {
        readonly ph: string;
        readonly name: string;
        readonly ts?: number;
      }[];
    }
    const file = join(directory, 'events.json');
    const { stdout } = await nity('replay', trouble, '--export', 'perfetto', '--output', file);
    expect(stdout).toContain('Identical');
    const full = await nity('replay', trouble, '--export', 'perfetto', '--output', '/dev/full');
    expect(full).toMatchObject({ code: 2, stdout: '' });
    expect(full.stderr).toContain('/dev/full could not be written (ENOSPC).');
    const alone = await nity('replay', trouble, '--export', 'perfetto');
    expect(alone.stdout).toBe(readFileSync(file, 'utf8'));
    const { traceEvents } = JSON.parse(alone.stdout) as Events;
    const of = (ph: string) => traceEvents.filter((event) => event.ph === ph);
    expect(of('X')).toHaveLength(150);
    // Each slice that begins ends.
    expect(of('B').length).toBe(of('E').length);
    expect(of('B').map(({ name }) => name)).toContain('transition');
    expect(of('C').every(({ name }) => name === 'slots')).toBe(true);
    expect(of('i').map(({ name }) => name)).toContain('slots: isolation');
  });
});

describe.skipIf(unavailable !== undefined)('the recorder of an agent', () => {
  const cgroup = join(unavailable === undefined ? cgroupRoot() : '/', own);
  const services = join(directory, 'services.yaml');
  let agent: ChildProcess | undefined;
  let log = '';

  beforeAll(() => {
    mkdirSync(cgroup);
    room.open();
    writeFileSync(
      services,
      `services:
  - name: shop/cart
    vip: 127.96.202.1
    ports: [{ name: http, port: 80, protocol: TCP }]
    backends:
      - { address: 127.0.0.1, port: 30001 }
      - { address: 127.0.0.1, port: 30002 }
`,
    );
  });

  async function start(...args: string[]): Promise<void> {
    log = '';
    agent = spawn(
      process.execPath,
      [
        cli,
        'run-agent',
        '--services',
        services,
        '--cgroup',
        cgroup,
        '--knob',
        'tickMs=50',
        ...args,
      ],
      { env: environment, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    agent.stderr?.on('data', (bytes: Buffer) => (log += bytes.toString()));
    await until(() => log.includes('routes are served'));
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = once(agent, 'exit');
    agent.kill(signal);
    await ended;
  }

  const bytesIn = (at: string) =>
    readdirSync(at).reduce((sum, name) => sum + statSync(join(at, name)).size, 0);

  afterEach(async () => {
    await end('SIGKILL');
    await nity('unload', '--force');
  });

  afterAll(() => {
    room.close();
    rmdirSync(cgroup);
  });

  it('leaves a whole trace behind kill -9, that replays to the bit', async () => {
    const traces = join(directory, 'recorded');
    await start('--record', traces);
    await until(() => bytesIn(traces) > 12_000);
    await end('SIGKILL');
    const seen = await replayed(traces);
    expect(seen).toMatchObject({ ok: true, identical: true, gaps: [] });
    expect(seen.ticks).toBeGreaterThan(10);
    expect(seen.routes).toMatchObject([
      { route: 'shop/cart:http', slotsMoved: expect.any(Number) as number },
    ]);
    // The next agent goes on in the same place.
    await start('--record', traces);
    await until(() => bytesIn(traces) > 24_000);
    await end('SIGTERM');
    expect(await replayed(traces)).toMatchObject({ ok: true, identical: true });
    expect((await nity('replay', traces)).stdout).toContain('2 runs of the agent');
  });

  it('keeps the last minutes unasked, and writes them out on SIGUSR2 and at a change', async () => {
    await start();
    const traces = join(directory, 'traces');
    // Asked before its first tick it has nothing yet, and says so.
    for (let asked = 0; asked < 50 && !log.includes('the last minutes were written'); asked++) {
      agent?.kill('SIGUSR2');
      await sleep(200);
    }
    const [asked = ''] = readdirSync(traces);
    expect(asked).toMatch(/^nity-\d{8}T\d{6}\.\d{3}Z-asked-\d+\.trace$/);
    expect(await replayed(join(traces, asked))).toMatchObject({ ok: true, identical: true });
    await nity('set-mode', 'hard', '--route', 'shop/cart:http', '--ttl', '30s');
    const changed = () => readdirSync(traces).find((name) => /admission.*\.trace$/.test(name));
    await until(() => changed() !== undefined);
    const seen = await replayed(join(traces, changed() ?? ''));
    expect(seen).toMatchObject({ ok: true, identical: true });
    expect(seen.reasons.map(({ change }) => change)).toContain('override');
  });

  it('costs nothing but ticks of the trace when the disk is full', async () => {
    const disk = join(directory, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96k', own, disk]);
    try {
      const traces = join(disk, 'traces');
      await start('--record', traces);
      await until(() => bytesIn(traces) > 6_000);
      try {
        for (;;) appendFileSync(join(disk, 'ballast'), Buffer.alloc(1024));
      } catch {
        // It is full.
      }
      await until(() => log.includes('recording pauses: the disk was full'));
      const failsafeMode = async () => {
        const { stdout } = await nity('inspect', 'field', '--json');
        return (JSON.parse(stdout) as Record<string, unknown>)['failsafeMode'];
      };
      await expect.poll(failsafeMode).toBe('normal');
      rmSync(join(disk, 'ballast'));
      await until(() => log.includes('recording goes on'));
      await end('SIGTERM');
      const { gaps, ...seen } = await replayed(traces);
      expect(seen).toMatchObject({ ok: true, identical: true });
      expect(gaps).toHaveLength(1);
      expect(gaps[0]?.why).toContain('the disk was full');
    } finally {
      await end('SIGKILL');
      execFileSync('umount', [disk]);
    }
  });

  it('is refused where it cannot write, and nothing is left behind', async () => {
    const traces = join(services, 'traces');
    const { code, stderr } = await nity(
      ...['run-agent', '--services', services, '--cgroup', cgroup, '--record', traces],
    );
    expect(code).toBe(2);
    expect(stderr).toContain(`${traces} cannot be recorded to: ENOTDIR.`);
    expect((await nity('inspect', 'field')).code).toBe(4);
  });
});
