// `nity trace` as an operator uses it: real connects, filters, a budget, and ends of every
// kind, none of which leaves the kernel telling.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { mapPin, openPlane } from '../../src/lib/dataplane/pins.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { NamedServer, unavailable, until } from '../kernel/rig.js';
import { Desk } from './desk.js';

const cli = join(import.meta.dirname, '../../bin/run.js');
const cart = { vip: '127.96.204.1', port: 80, name: 'shop/cart:http' };
const closed = { vip: '127.96.204.2', port: 443, name: 'shop/closed:https' };

interface Line {
  readonly schemaVersion: number;
  readonly time: string;
  readonly timeNs: string;
  readonly pid: number;
  readonly command: string;
  readonly cgroup: string | null;
  readonly pod: unknown;
  readonly route: string;
  readonly vip: string;
  readonly slot: number | null;
  readonly backend: string | null;
  readonly outcome: string;
  readonly costNs: number;
  readonly droppedBefore: number;
}

/** A trace under way. */
class Tracing {
  stdout = '';
  stderr = '';

  constructor(readonly child: ChildProcess) {
    child.stdout?.on('data', (bytes: Buffer) => (this.stdout += bytes.toString()));
    child.stderr?.on('data', (bytes: Buffer) => (this.stderr += bytes.toString()));
  }

  get lines(): Line[] {
    return this.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  }

  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      await once(this.child, 'close');
    }
    return this.child.exitCode;
  }

  async interrupt(): Promise<number | null> {
    this.child.kill('SIGINT');
    return this.ended();
  }
}

describe.skipIf(unavailable !== undefined)('nity trace', () => {
  let desk: Desk;
  let plane: Plane;
  const servers = [new NamedServer('one', false), new NamedServer('two', false)];
  const traces: Tracing[] = [];

  /** A dataplane with two routes, whose agent is dead: a trace needs none. */
  beforeAll(async () => {
    desk = new Desk();
    for (const server of servers) await server.listen();
    const backends = servers.map(({ port }) => ({ address: '127.0.0.1', port }));
    const service = (name: string, { vip, port }: typeof cart, port_: string, list: unknown) => ({
      name,
      vip,
      ports: [{ name: port_, port, protocol: 'TCP' }],
      backends: list,
    });
    const services = [
      service('shop/cart', cart, 'http', backends),
      service('shop/closed', closed, 'https', []),
    ];
    writeFileSync(desk.services, JSON.stringify({ services }));
    const { child } = await desk.agent();
    await desk.end(child, 'SIGKILL');
    plane = openPlane(desk.pinPath);
  });

  afterEach(async () => {
    for (const { child } of traces.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const over = once(child, 'close');
      child.kill('SIGKILL');
      await over;
    }
  });

  afterAll(async () => {
    plane.close();
    for (const server of servers) server.close();
    await desk.close();
  });

  const environment = () => ({ ...process.env, NITY_PIN_PATH: desk.pinPath });

  /** Starts a trace, and comes back when it listens. */
  const trace = async (...args: readonly string[]) => {
    const child = spawn(process.execPath, [cli, 'trace', ...args], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const tracing = new Tracing(child);
    traces.push(tracing);
    await until(() => tracing.stderr.includes('Listening'));
    return tracing;
  };

  /** Connects from a shell in the desk's cgroup; what answered, and the shell's pid. */
  const connect = async (to: typeof cart, times: number) => {
    const script =
      `echo $$ > ${join(desk.cgroup, 'cgroup.procs')}; for i in $(seq ${times}); do ` +
      `if exec 3<>/dev/tcp/${to.vip}/${to.port}; then cat <&3; echo; exec 3>&-; else echo no; fi; done`;
    return new Promise<{ answers: string[]; pid: number | undefined }>((resolve) => {
      const child = execFile('bash', ['-c', script], (_error, stdout) => {
        resolve({ answers: stdout.trim().split('\n'), pid: child.pid });
      });
    });
  };

  /** Whether the kernel tells anything at this moment. */
  const telling = () => plane.word('traceUntilNs') > plane.nowNs();

  it('says of each connect who made it and which backend it was given', async () => {
    const tracing = await trace('--json');
    const { answers, pid } = await connect(cart, 6);
    await until(() => tracing.lines.length === 6);
    expect(await tracing.interrupt()).toBe(0);
    const byPort = new Map(servers.map(({ name, port }) => [`127.0.0.1:${port}`, name]));
    expect(tracing.lines.map(({ backend }) => byPort.get(backend ?? ''))).toEqual(answers);
    for (const line of tracing.lines) {
      expect(line).toMatchObject({
        schemaVersion: 1,
        pid,
        command: 'bash',
        cgroup: `/${desk.name}`,
        pod: null,
        route: cart.name,
        vip: `${cart.vip}:80`,
        droppedBefore: 0,
      });
      expect(line.costNs).toBeGreaterThan(0);
      expect(line.slot).toBeGreaterThanOrEqual(0);
      expect(line.slot).toBeLessThan(64);
      expect(Math.abs(Date.parse(line.time) - Date.now())).toBeLessThan(60_000);
    }
    const times = tracing.lines.map(({ timeNs }) => BigInt(timeNs));
    expect(times).toEqual([...times].sort((a, b) => Number(a - b)));
  });

  it('finds the cgroup also where it may not ask by its number, as in a container', async () => {
    const child = spawn(
      'setpriv',
      [
        ...['--bounding-set', '-dac_read_search', '--inh-caps', '-dac_read_search'],
        ...[process.execPath, cli, 'trace', '--json', '--count', '1'],
      ],
      { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const tracing = new Tracing(child);
    traces.push(tracing);
    await until(() => tracing.stderr.includes('Listening'));
    const capabilities = readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8');
    expect(BigInt(`0x${/CapEff:\t(\w+)/.exec(capabilities)?.[1] ?? ''}`) & 4n).toBe(0n);
    await connect(cart, 1);
    expect(await tracing.ended()).toBe(0);
    expect(tracing.lines[0]?.cgroup).toBe(`/${desk.name}`);
  });

  it('ends on Ctrl-C with a summary on stderr, and with the kernel silent', async () => {
    const tracing = await trace();
    expect(telling()).toBe(true);
    await connect(cart, 2);
    await connect(closed, 1);
    await until(() => tracing.stdout.includes('refusedNoBackends'));
    expect(await tracing.interrupt()).toBe(0);
    expect(tracing.stderr).toMatch(
      /3 decisions in \d+\.\d s: 2 picked, 1 refused; none left out\.\n$/,
    );
    expect(tracing.stdout.split('\n')[0]).toMatch(/^TIME +PID +COMMAND +ROUTE +SLOT +BACKEND/);
    expect(telling()).toBe(false);
  });

  it.each([
    ['a route', [cart.name], 3],
    ['a route by its address', ['--route', `${closed.vip}:443`], 1],
    ['refusals', ['--outcome', 'refused'], 1],
    ['picks and one refusal', ['--outcome', 'picked', '--outcome', 'refusedNoBackends'], 4],
  ] as const)('shows only %s', async (_, args, expected) => {
    const tracing = await trace('--json', ...args);
    await connect(cart, 3);
    await connect(closed, 1);
    // Nothing more is to come: what it would show it has shown.
    await sleep(400);
    await tracing.interrupt();
    expect(tracing.lines).toHaveLength(expected);
  });

  it('shows only a backend, or only a process', async () => {
    const one = `127.0.0.1:${servers[0]?.port ?? 0}`;
    const ofBackend = await trace('--json', '--backend', one);
    const { answers } = await connect(cart, 6);
    await sleep(400);
    await ofBackend.interrupt();
    const expected = answers.filter((answer) => answer === 'one').length;
    expect(ofBackend.lines.map(({ backend }) => backend)).toEqual(Array(expected).fill(one));
    const ofNobody = await trace('--json', '--pid', String(process.pid));
    await connect(cart, 3);
    await sleep(400);
    await ofNobody.interrupt();
    expect(ofNobody.stdout).toBe('');
    expect(ofNobody.stderr).toMatch(/No decision in /);
  });

  it('ends after so many decisions, or after a time', async () => {
    const counted = await trace('--json', '--count', '2');
    await connect(cart, 5);
    expect(await counted.ended()).toBe(0);
    expect(counted.lines).toHaveLength(2);
    const timed = await trace('--for', '300ms');
    expect(await timed.ended()).toBe(0);
    expect(telling()).toBe(false);
  });

  it('says what the budget left out, when it happens and at the end', async () => {
    const tracing = await trace('--json', '--budget', '2');
    await connect(cart, 30);
    await until(() => tracing.stderr.includes('over the budget of 2/s'));
    await sleep(200);
    await tracing.interrupt();
    const shown = tracing.lines.length;
    expect(shown).toBeGreaterThanOrEqual(2);
    expect(shown).toBeLessThan(20);
    expect(tracing.stderr).toMatch(
      new RegExp(`decisions left out: ${30 - shown} over the budget of 2/s\\.\\n$`),
    );
  });

  it('is told nothing more within 3 s of being killed, and the next one starts clean', async () => {
    const killed = await trace('--json');
    // Not read any more, but still told: what the next must not take for its own.
    killed.child.kill('SIGSTOP');
    await connect(cart, 3);
    killed.child.kill('SIGKILL');
    await killed.ended();
    const left = Number(plane.word('traceUntilNs') - plane.nowNs()) / 1e6;
    expect(left).toBeLessThanOrEqual(3000);
    const next = await trace('--json');
    await connect(cart, 1);
    await until(() => next.lines.length > 0);
    await next.interrupt();
    expect(next.lines).toHaveLength(1);
    expect(telling()).toBe(false);
  });

  it('says for how long it was stopped, and goes on', async () => {
    const tracing = await trace('--json');
    tracing.child.kill('SIGSTOP');
    await sleep(3500);
    expect(telling()).toBe(false);
    tracing.child.kill('SIGCONT');
    await until(() => /nobody listened for [\d,]+ ms/.test(tracing.stderr));
    await connect(cart, 1);
    await until(() => tracing.lines.length === 1);
    await tracing.interrupt();
  });

  it('ends when nobody reads any more', async () => {
    const child = spawn(
      'bash',
      ['-c', `"$0" "$1" trace --no-headers | head -n 1`, process.execPath, cli],
      {
        env: environment(),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const piped = new Tracing(child);
    traces.push(piped);
    await until(() => piped.stderr.includes('Listening'));
    while (child.exitCode === null) await connect(cart, 1);
    expect(piped.stdout.trim().split('\n')).toHaveLength(1);
    expect(piped.stderr).not.toContain('EPIPE');
    expect(telling()).toBe(false);
  });

  it('fits the terminal it is shown on', async () => {
    const command = `stty cols 80; "${process.execPath}" "${cli}" trace --color always --count 2`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const shown = new Tracing(child);
    traces.push(shown);
    await until(() => shown.stdout.includes('Listening'));
    await connect(closed, 2);
    expect(await shown.ended()).toBe(0);
    const [refused = ''] = shown.stdout.split('\r\n').filter((line) => line.includes('✗'));
    expect(refused).toContain('\u001b[31m✗ noBackends\u001b[39m');
    expect(stripVTControlCharacters(refused)).toMatch(/ bash {3}shop\/cl…:https {4}- - .*✗/);
  });

  it('is refused while another listens', async () => {
    const first = await trace();
    const second = await desk.nity('trace', '--count', '1');
    expect(second).toMatchObject({ code: 5, stdout: '' });
    expect(second.stderr).toContain('Another trace already listens');
    expect(telling()).toBe(true);
    await first.interrupt();
  });

  it.each([
    ['an unknown route', ['shop/nothing:http'], 2, 'There is no route shop/nothing:http.'],
    ['two routes', [cart.name, '--route', closed.name], 2, 'Two routes are asked for'],
    ['an unknown backend', ['--backend', '10.9.9.9:1'], 2, 'There is no backend 10.9.9.9:1.'],
    ['a backend without a port', ['--backend', '10.9.9.9'], 2, 'is no address'],
    ['an unknown outcome', ['--outcome', 'lost'], 2, 'outcome'],
    ['a budget that could hurt', ['--budget', '100000'], 2, 'budget'],
    ['no dataplane', ['--pin-path', '/sys/fs/bpf/nity-of-nobody'], 4, 'No dataplane is loaded'],
  ] as const)('says what is wrong with %s, and does not listen', async (_, args, code, words) => {
    const outcome = await desk.nity('trace', '--count', '1', ...args);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toContain(words);
    expect(telling()).toBe(false);
  });

  it('does not read another major schema', async () => {
    const schema = plane.fieldState.get(0, 'schema');
    plane.fieldState.write(0, { schema: 0x1_0002 });
    const outcome = await desk.nity('trace', '--count', '1');
    plane.fieldState.write(0, { schema });
    expect(outcome.code).toBe(4);
    expect(outcome.stderr).toContain('has schema 1.2; this is 2.0');
    expect(outcome.stderr).toContain('nity unload');
  });

  it('ends when the dataplane goes', async () => {
    const tracing = await trace();
    for (const name of ['events', 'trace'] as const) unlinkSync(mapPin(desk.pinPath, name));
    expect(await tracing.ended()).toBe(4);
    expect(tracing.stderr).toContain('No dataplane is loaded');
    expect(telling()).toBe(false);
  });
});
