// The built command line as an operator runs it: the whole day of a dataplane,
// and every documented exit code.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { thresholds } from '../../src/lib/dataplane/initialise.js';
import { openPlane } from '../../src/lib/dataplane/pins.js';
import { makeKnobs } from '../../src/lib/config/knobs.js';
import { NamedServer, unavailable, until } from '../kernel/rig.js';
import { Desk } from './desk.js';

function file(ports: readonly number[]): string {
  const backends = ports.map((port) => `      - { address: 127.0.0.1, port: ${port} }`).join('\n');
  return `services:
  - name: shop/cart
    vip: 127.96.200.1
    ports:
      - { name: http, port: 80, protocol: TCP }
    backends:
${backends}
`;
}

describe.skipIf(unavailable !== undefined)('the command line', () => {
  const servers = [new NamedServer('one', false), new NamedServer('two', false)];
  // One for each test: what a test that fails leaves loaded is not the next one's.
  let desk: Desk;

  const nity = (...args: readonly string[]) => desk.nity(...args);
  const json = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { stdout } = await nity(...args, '--json');
    return JSON.parse(stdout) as Record<string, unknown>;
  };

  /** Its heartbeat is not stale before a test says so, however long a tick is kept waiting. */
  const startAgent = async () => {
    const patient = ['--knob', 'tau1Ms=600000', '--knob', 'tau2Ms=1200000'];
    const { child, log } = desk.startAgent('--services', desk.services, ...patient);
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the agent ended:\n${log()}`);
      return log().includes('routes are served');
    });
    return { child, log };
  };

  /** As if τ1 and τ2 had been as short as they can be from the start. */
  const fallBack = async () => {
    const plane = openPlane(desk.pinPath);
    try {
      plane.fieldState.write(0, thresholds(makeKnobs({ tau1Ms: 100, tau2Ms: 200 })));
      const staleNs = 200_000_000n;
      await until(() => plane.nowNs() - plane.word('lastAgentSeenNs') > staleNs);
    } finally {
      plane.close();
    }
  };

  /** What each of some connects was answered: a server's name, or `refused`. */
  const dialFromCgroup = async (times: number): Promise<string[]> => {
    const dial = `(exec 3<>/dev/tcp/127.96.200.1/80 && head -c 3 <&3) 2>&- || printf refused`;
    const script = `echo $$ > ${join(desk.cgroup, 'cgroup.procs')} || exit; for i in $(seq ${times}); do ${dial}; echo; done`;
    const child = spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
    await once(child, 'close');
    return output.trim().split('\n');
  };

  beforeAll(async () => {
    for (const server of servers) await server.listen();
  });

  beforeEach(() => {
    desk = new Desk();
    writeFileSync(desk.services, file(servers.map(({ port }) => port)));
  });

  afterEach(async () => {
    await desk.close();
  });

  afterAll(() => {
    for (const server of servers) server.close();
  });

  it('says 4 where nothing is loaded, in words and in JSON', async () => {
    const words = await nity('inspect', 'field');
    expect(words).toMatchObject({ code: 4, stdout: '' });
    expect(words.stderr.split('\n')[0]).toBe(`Error: No dataplane is loaded at ${desk.pinPath}.`);
    const machine = await nity('inspect', 'field', '--json');
    expect(machine).toMatchObject({ code: 4, stderr: '' });
    expect(JSON.parse(machine.stdout)).toMatchObject({
      schemaVersion: 1,
      error: { code: 'NOT_LOADED' },
    });
  });

  it('says 2 for bad usage, with and without --json, and no stack trace', async () => {
    for (const args of [
      ['set-mode', 'open'],
      ['inspect', 'slots', '--nonsense'],
      ['flip', '--hold', 'soon'],
      ['flip', '--hold', '169h'],
      ['flip', '--expect-epoch', 'last'],
      ['set-mode', 'hard', '--expect-epoch', 'last'],
      // In nanoseconds beyond 64 bits, which would be another time altogether.
      ['set-mode', 'hard', '--ttl', '99999999h'],
      ['set-mode', 'hard', '--ttl', '0s'],
      ['top', '--interval', '2h'],
      ['doctor', '--suppress', 'NITY999'],
    ]) {
      const words = await nity(...args);
      expect(words.code, args.join(' ')).toBe(2);
      expect(words.stderr).not.toMatch(/\n\s+at /);
      const machine = await nity(...args, '--json');
      expect(machine.code).toBe(2);
      expect(JSON.parse(machine.stdout)).toMatchObject({
        error: { hint: expect.any(String) as string },
      });
    }
  });

  it('refuses a bad services file with its place, and loads nothing', async () => {
    const bad = join(desk.directory, 'bad.yaml');
    writeFileSync(bad, file([70_000]));
    const outcome = await nity('run-agent', '--services', bad);
    expect(outcome.code).toBe(2);
    expect(outcome.stderr).toContain(
      `${bad}:7:37: services[0].backends[0].port: expected a port from 1 to 65535`,
    );
    expect(existsSync(desk.pinPath)).toBe(false);
  });

  it('says 3 where the pin path is in no BPF file system', async () => {
    const outcome = await nity(
      ...['load', '--cgroup', desk.cgroup, '--pin-path', join(desk.directory, 'pins')],
    );
    expect(outcome.code).toBe(3);
    expect(outcome.stderr).toContain('mount -t bpf bpf /sys/fs/bpf');
  });

  it('loads, serves, flips, overrides, survives its agent and unloads', async () => {
    const loaded = await json(
      'load',
      '--cgroup',
      desk.cgroup,
      '--max-backends',
      '1024',
      '--reason',
      'the test',
    );
    expect(loaded).toMatchObject({ schemaVersion: 1, action: 'loaded' });
    expect(await json('load', '--cgroup', desk.cgroup)).toMatchObject({ action: 'unchanged' });

    const stranger = await desk.nityAs(65_534, ['inspect', 'field']);
    expect(stranger.code).toBe(3);
    expect(stranger.stderr).toContain('sudo');

    const { child, log } = await startAgent();
    // What is told to be served is so from the first projection on.
    await until(() => /epoch \d+: /.test(log()));
    expect([...new Set(await dialFromCgroup(20))].sort(), log()).toEqual(['one', 'two']);
    expect(await json('inspect', 'routes')).toMatchObject({
      routes: [
        {
          route: 'shop/cart:http',
          vip: '127.96.200.1',
          port: 80,
          protocol: 'TCP',
          backends: 2,
          slots: 64,
          picks: '20',
          refused: '0',
          override: null,
        },
      ],
    });
    expect(await json('inspect', 'backends')).toMatchObject({
      backends: [
        { state: 'healthy', slots: 32, pressure: expect.any(Number) as number },
        { state: 'healthy', slots: 32 },
      ],
    });
    expect(await json('inspect', 'slots')).toMatchObject({
      routes: [
        { route: 'shop/cart:http', total: 64, slots: [{ slots: 32, share: 0.5 }, { slots: 32 }] },
      ],
    });
    for (const view of ['maps', 'conntrack', 'control', 'counters', 'field']) {
      expect(await json('inspect', view), view).toMatchObject({ schemaVersion: 1 });
      expect((await nity('inspect', view)).code, view).toBe(0);
    }

    // What is asked for by a name or an address that is not there is told, not answered with nothing.
    const first = `127.0.0.1:${servers[0]?.port ?? 0}`;
    expect(await json('inspect', 'backends', '--backend', first)).toMatchObject({
      backends: [{ backend: first }],
    });
    for (const view of ['backends', 'conntrack']) {
      for (const filter of [
        ['--route', 'no/such:route'],
        ['--route', '127.96.200.1:81'],
        ['--backend', '127.0.0.1:1'],
        ['--backend', 'one'],
      ]) {
        const outcome = await nity('inspect', view, ...filter);
        expect(outcome, [view, ...filter].join(' ')).toMatchObject({ code: 2, stdout: '' });
      }
      for (const route of ['shop/cart:http', '127.96.200.1:80']) {
        expect((await nity('inspect', view, '--route', route)).code).toBe(0);
      }
    }

    // A second agent and an unload under the agent are unsafe.
    const second = await nity('run-agent', '--services', desk.services);
    expect(second.code).toBe(5);
    expect(second.stderr).toContain('Another agent already runs');
    expect((await nity('unload')).code).toBe(5);

    expect((await nity('set-mode', 'hard', '--route', 'no/such:route')).code).toBe(2);
    const slip = await nity('set-mode', 'hard', '--route', 'shop/carts:http');
    expect(slip).toMatchObject({ code: 2, stdout: '' });
    expect(slip.stderr).toMatch(
      /^Error: There is no route shop\/carts:http\.\n→ Did you mean shop\/cart:http\? /,
    );
    expect(
      (await nity('set-mode', 'hard', '--route', '127.96.200.1:80', '--ttl', '30s')).code,
    ).toBe(0);
    expect(await dialFromCgroup(2)).toEqual(['refused', 'refused']);
    expect(await json('inspect', 'control')).toMatchObject({
      routes: [{ effectiveMode: 'hard', override: { mode: 'hard' } }],
    });
    expect((await nity('set-mode', 'auto')).code).toBe(0);
    expect(await dialFromCgroup(2)).not.toContain('refused');

    // A broken edit is reported and ignored; a good one is picked up.
    writeFileSync(desk.services, 'services: [');
    await until(() => log().includes('stay in force'));
    writeFileSync(desk.services, file([servers[1]?.port ?? 0]));
    await until(() => log().includes('changed: 1 routes'));
    await until(() => log().split('epoch').length > 2);
    expect([...new Set(await dialFromCgroup(6))]).toEqual(['two']);

    const before = (await json('inspect', 'field'))['epoch'];
    expect((await nity('flip', '--expect-epoch', '1')).code).toBe(5);
    expect(await json('flip', '--dry-run')).toMatchObject({ dryRun: true });
    expect((await json('inspect', 'field'))['epoch']).toBe(before);
    expect((await nity('flip', '--hold', '1s', '--reason', 'rehearsal')).code).toBe(0);
    expect((await json('inspect', 'field'))['epoch']).toBe(String(Number(before) + 1));

    child.kill('SIGKILL');
    await once(child, 'exit');
    await fallBack();
    expect(await json('inspect', 'field')).toMatchObject({ failsafeMode: 'fallback' });
    expect(await dialFromCgroup(4)).not.toContain('refused');
    expect((await nity('flip')).code).toBe(5);

    const { child: next } = await startAgent();
    next.kill('SIGTERM');
    const [code] = (await once(next, 'exit')) as [number];
    expect(code).toBe(0);

    expect(await json('unload', '--dry-run')).toMatchObject({ action: 'unloaded', dryRun: true });
    expect(existsSync(desk.pinPath)).toBe(true);
    expect(await json('unload')).toMatchObject({ action: 'unloaded' });
    expect(existsSync(desk.pinPath)).toBe(false);
    const actions = readFileSync(join(desk.directory, 'audit.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { command: string; uid: number; reason?: string });
    expect(actions.map(({ command }) => command)).toEqual([
      'load',
      'set-mode hard',
      'set-mode auto',
      'flip',
      'unload',
    ]);
    expect(actions[0]).toMatchObject({ uid: 0, reason: 'the test' });
  });

  it('says 2 when the maps are too small for the file, and serves what it served', async () => {
    expect((await nity('load', '--cgroup', desk.cgroup, '--max-backends', '64')).code).toBe(0);
    const big = join(desk.directory, 'big.yaml');
    writeFileSync(big, file(Array.from({ length: 100 }, (_, i) => 30_000 + i)));
    const outcome = await nity('run-agent', '--services', big);
    expect(outcome.code).toBe(2);
    expect(outcome.stderr).toContain('--max-backends');
    expect(await json('inspect', 'routes')).toMatchObject({ routes: [] });
    expect((await nity('unload')).code).toBe(0);
    // And where the agent had to load first, nothing stays loaded.
    const many = Array.from({ length: 1025 }, (_, i) => 30_000 + i);
    writeFileSync(big, file(many));
    expect((await nity('run-agent', '--services', big, '--cgroup', desk.cgroup)).code).toBe(2);
    expect(existsSync(desk.pinPath)).toBe(false);
  });
});
