// The agent as an operator meets it: it explains itself, reads its knobs again,
// listens to applications, and leaves a coherent field.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { PinRoom } from '../kernel/pin-room.js';
import { unavailable, until } from '../kernel/rig.js';
import { nity as run } from './shell.js';

const own = `nity-test-agent-${process.pid}`;
const room = new PinRoom(own);
const directory = mkdtempSync(join(tmpdir(), 'nity-agent-'));
const services = join(directory, 'services.yaml');
const config = join(directory, 'knobs.yaml');
const appSocket = join(directory, 'apps.sock');
const reportSocket = join(directory, `sys-fs-bpf-${own}-nity.sock`);
const cli = join(import.meta.dirname, '../../bin/run.js');
const environment = {
  ...process.env,
  NITY_PIN_PATH: room.pinPath,
  NITY_RUN_DIR: directory,
  NITY_AUDIT_LOG: join(directory, 'audit.jsonl'),
};

const nity = (...args: readonly string[]) => run(args, environment);

interface Explanation {
  readonly schemaVersion: number;
  readonly route: {
    readonly name: string;
    readonly regime: string;
    readonly gear: string;
    readonly backends: readonly {
      readonly id: string;
      readonly slots: number;
      readonly target: number;
      readonly pressure: Readonly<Record<string, number | null>>;
    }[];
    readonly reasons: readonly {
      readonly change: { readonly of: string };
      readonly cause: { readonly kind: string };
    }[];
  };
  readonly node: { readonly missing: readonly { readonly sensor: string; readonly why: string }[] };
  readonly knobs: Readonly<Record<string, number>>;
}

async function explain(): Promise<Explanation> {
  const { stdout } = await nity('explain', 'shop/cart:http', '--json');
  return JSON.parse(stdout) as Explanation;
}

describe.skipIf(unavailable !== undefined)('the agent', () => {
  const cgroup = join(unavailable === undefined ? cgroupRoot() : '/', own);
  let agent: ChildProcess | undefined;
  let log = '';

  const serve = (...ports: readonly number[]) => {
    const backends = ports.map((port) => `      - { address: 127.0.0.1, port: ${port} }\n`);
    writeFileSync(
      services,
      `services:
  - name: shop/cart
    vip: 127.96.201.1
    ports: [{ name: http, port: 80, protocol: TCP }]
    backends:
${backends.join('')}`,
    );
  };

  beforeAll(() => {
    mkdirSync(cgroup);
    room.open();
  });

  beforeEach(async () => {
    log = '';
    serve(30_001, 30_002);
    writeFileSync(config, 'deadBand: 0.25\n');
    agent = spawn(
      process.execPath,
      [
        cli,
        'run-agent',
        '--services',
        services,
        '--config',
        config,
        '--cgroup',
        cgroup,
        '--app-socket',
        appSocket,
      ],
      { env: environment, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    agent.stderr?.on('data', (bytes: Buffer) => (log += bytes.toString()));
    // With its first tick it is up: before, a signal ends it as it ends any process.
    await until(() => /epoch \d+: /.test(log) && existsSync(reportSocket));
  });

  afterEach(async () => {
    if (agent !== undefined && agent.exitCode === null && agent.signalCode === null) {
      const ended = once(agent, 'exit');
      agent.kill('SIGKILL');
      await ended;
    }
    await nity('unload', '--force');
  });

  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
    room.close();
    rmdirSync(cgroup);
  });

  it.each([
    ['unloaded', []],
    ['unloaded and loaded anew', ['load', '--cgroup', cgroup]],
  ])('ends, and says why, when its dataplane is %s under it', async (_, then) => {
    const child = agent;
    if (child === undefined) throw new Error('there is no agent');
    const ended = once(child, 'exit');
    expect((await nity('unload', '--force')).code).toBe(0);
    if (then.length > 0) await nity(...then);
    expect(await ended).toEqual([4, null]);
    expect(log).toContain('was unloaded under the agent.');
    expect(log).toContain('→ If it is to serve again, start the agent again');
  });

  it('ends so too while an operator holds its field', async () => {
    const child = agent;
    if (child === undefined) throw new Error('there is no agent');
    const ended = once(child, 'exit');
    // A second projection, or there is no table to flip back to.
    serve(30_001, 30_002, 30_003);
    await until(() => /changed: 1 routes[^]*epoch \d+: /.test(log));
    expect((await nity('flip', '--hold', '2h')).code).toBe(0);
    expect((await nity('unload', '--force')).code).toBe(0);
    expect(await ended).toEqual([4, null]);
    expect(log).toContain('was unloaded under the agent.');
  });

  it('explains a route: terms, weights, targets, reasons and what would be next', async () => {
    const told = await explain();
    expect(told).toMatchObject({
      schemaVersion: 1,
      route: { name: 'shop/cart:http', regime: 'laminar', gear: 'bounded' },
      knobs: { deadBand: 0.25 },
    });
    expect(told.route.backends).toMatchObject([
      {
        id: '127.0.0.1:30001',
        slots: 32,
        target: 32,
        pressure: { latency: null, errors: null, gate: 0 },
      },
      { id: '127.0.0.1:30002', slots: 32, target: 32 },
    ]);
    expect(told.route.reasons.map(({ cause }) => cause.kind)).toEqual(['churn', 'churn']);
    // Whatever this node cannot tell says why.
    for (const { why } of told.node.missing) expect(why).not.toBe('');

    const { stdout } = await nity('explain', '127.96.201.1:80', '-o', 'wide');
    expect(stdout).toContain('shop/cart:http: laminar, gear bounded');
    expect(stdout).toContain('EVIDENCE');
    expect(stdout).toMatch(/Hysteresis: at rest/);
    expect(stdout).toMatch(/0→32 slots \(churn: 2 backends came or went\)/);
    expect(stdout).toMatch(/the valve turns soft when answers come late and more requests/);
  });

  it('refuses to explain what it does not know, with the right codes', async () => {
    const unknown = await nity('explain', 'shop/none:http');
    expect(unknown).toMatchObject({ code: 2, stdout: '' });
    expect(unknown.stderr).toContain('There is no route shop/none:http.');
    expect((await nity('explain')).code).toBe(2);
    const gone = once(agent as ChildProcess, 'exit');
    agent?.kill('SIGKILL');
    await gone;
    const dead = await nity('explain', 'shop/cart:http');
    expect(dead.code).toBe(4);
    expect(dead.stderr).toContain('No agent answers');
    const { stdout } = await nity('inspect', 'backends', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      backends: [{ pressure: null }, { pressure: null }],
    });
  });

  it('reads its knobs again on SIGHUP, and keeps the good ones when the file is broken', async () => {
    writeFileSync(config, 'deadBand: 0.4\nslotsPerRoute: 128\n');
    agent?.kill('SIGHUP');
    await until(() => log.includes('deadBand 0.25→0.4'));
    expect(log).toContain('slotsPerRoute stays 64 until the agent is restarted');
    // They are told of with the next tick.
    const deadBand = async () => (await explain()).knobs['deadBand'];
    await expect.poll(deadBand).toBe(0.4);
    writeFileSync(config, 'deadBand: 4\n');
    agent?.kill('SIGHUP');
    await until(() => log.includes('The last good knobs stay in force.'));
    expect(log).toMatch(/knobs\.yaml:1:11/);
    expect(await deadBand()).toBe(0.4);
    expect(agent?.exitCode).toBeNull();
  });

  it('believes what an application says of a backend', async () => {
    const speaker = connect(appSocket);
    const line = {
      route: 'shop/cart:http',
      backend: '127.0.0.1:30002',
      errorRate: 0.5,
      latencyP95Ms: 4,
    };
    const speak = setInterval(() => speaker.write(`${JSON.stringify(line)}\n`), 200);
    let queue: number | null = null;
    try {
      const deep = { ...line, queueDepth: 500 };
      speaker.write(`${JSON.stringify(deep)}\n`);
      for (let tries = 0; tries < 20 && queue === null; tries++) {
        queue = (await explain()).route.backends[1]?.pressure['queue'] ?? null;
      }
    } finally {
      clearInterval(speak);
      speaker.destroy();
    }
    expect(queue).not.toBeNull();
    const { stderr } = await nity('run-agent', '--services', services, '--app-socket', appSocket);
    expect(stderr).toMatch(/agent|listens/i);
  });

  it('shows an operator’s override as its reason, and goes on underneath', async () => {
    await nity('set-mode', 'hard', '--route', 'shop/cart:http', '--ttl', '30s');
    await until(() => log.includes('override: the operator set hard'));
    await nity('set-mode', 'auto', '--route', 'shop/cart:http');
    await until(() => log.includes('control is the agent’s again'));
  });

  it('ends on SIGTERM with a complete table and without its sockets', async () => {
    const ended = once(agent as ChildProcess, 'exit');
    agent?.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(existsSync(reportSocket)).toBe(false);
    expect(existsSync(appSocket)).toBe(false);
    const { stdout } = await nity('inspect', 'field', '--json');
    const field = JSON.parse(stdout) as Record<string, unknown>;
    expect(field['heldEpoch']).toBe(field['epoch']);
    expect(field).toMatchObject({ agentPid: null, regime: 'laminar' });
  });
});
