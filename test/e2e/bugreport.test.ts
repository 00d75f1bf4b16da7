// A bug report as whoever receives it sees it: unpacked, and searched for what must not
// be in it.
import {
  readdirSync,
  readFileSync,
  mkdirSync,
  rmSync,
  chmodSync,
  existsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync, spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { refusedByPolicy, refusedHere, refusingTracing } from '../kernel/refusal.js';
import { unavailable, until } from '../kernel/rig.js';
import { Desk } from './desk.js';
import { root } from './shell.js';

interface Manifest {
  readonly schemaVersion: number;
  readonly redacted: boolean;
  readonly uid: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly missing: readonly { readonly path: string; readonly why: string }[];
}

/** The archive unpacked by tar itself. */
class Unpacked {
  readonly root: string;

  constructor(archive: string, to: string) {
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to);
    execFileSync('tar', ['-xzf', archive, '-C', to]);
    const [only = '', ...others] = readdirSync(to);
    expect(others).toEqual([]);
    this.root = join(to, only);
  }

  get paths(): string[] {
    return readdirSync(this.root, { recursive: true, encoding: 'utf8' })
      .filter((path) => statSync(join(this.root, path)).isFile())
      .sort();
  }

  text(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  json(path: string): unknown {
    return JSON.parse(this.text(path));
  }

  get manifest(): Manifest {
    return this.json('manifest.json') as Manifest;
  }

  /** The files that hold a text by itself, in any case: "vm" is no part of vmlinux. */
  holding(text: string): string[] {
    const escaped = text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
    const word = new RegExp(`(?<![a-z0-9])${escaped}(?![a-z0-9])`, 'i');
    return this.paths.filter((path) => word.test(this.text(path)));
  }
}

/** The entry of the manifest where the kernel does not list sockets. */
const withoutSockets = (why: string) => ({
  path: 'maps/conntrack.json#sockets',
  about: 'the flows of sockets',
  why,
});

describe.skipIf(unavailable !== undefined)('nity bugreport', () => {
  let desk: Desk;
  let archive: string;
  let made = 0;

  beforeAll(() => {
    desk = new Desk();
  });

  beforeEach(() => {
    desk.serve({ basket: 3, billing: 2 });
    archive = join(desk.directory, `report-${made++}.tar.gz`);
  });

  afterEach(async () => {
    await desk.clear();
  });

  afterAll(async () => {
    await desk.close();
  });

  const report = (...args: readonly string[]) => reportUnder(['env'], ...args);
  const reportUnder = async (words: readonly string[], ...args: readonly string[]) => {
    const outcome = await desk.nityUnder(words, 'bugreport', '-o', archive, ...args);
    expect(outcome.code, outcome.stderr).toBe(0);
    return new Unpacked(archive, join(desk.directory, 'unpacked'));
  };
  /** An agent that has ticked for a while, and an operator who has written a secret down. */
  const busyNode = async () => {
    const { child, log } = await desk.agent();
    const { code } = await desk.nity(
      ...['set-mode', 'soft', '--route', 'shop/basket:http', '--rate', '50'],
      ...['--reason', 'Ada asked, password=hunter22 and Bearer abcdef0123456789'],
    );
    expect(code).toBe(0);
    await until(() => log().includes('soft'));
    return child;
  };

  it('holds versions, doctor, maps, field, explanations, ticks, knobs and the audit log', async () => {
    await busyNode();
    const unpacked = await report();
    const missing = refusedHere === null ? [] : [withoutSockets(refusedHere.cause)];
    expect(unpacked.manifest).toMatchObject({ schemaVersion: 1, redacted: false, missing });
    expect(unpacked.paths).toEqual(
      [
        ...['agent', 'audit', 'doctor', 'knobs', 'machine', 'manifest', 'observed', 'versions'],
        ...'backends conntrack counters field maps routes slots'.split(' ').map((n) => `maps/${n}`),
      ]
        .map((name) => `${name}.json`)
        .concat('kernel-log.txt', 'traces/last-minutes.trace')
        .sort(),
    );
    expect(unpacked.manifest.files.map(({ path }) => path).sort()).toEqual(
      unpacked.paths.filter((path) => path !== 'manifest.json'),
    );
    const slots = unpacked.json('maps/slots.json') as { routes: { route: string }[] };
    expect(slots.routes.map(({ route }) => route).sort()).toEqual([
      'shop/basket:http',
      'shop/billing:http',
    ]);
    const { routes } = unpacked.json('agent.json') as { routes: { name: string }[] };
    expect(routes).toHaveLength(2);
    expect((unpacked.json('audit.json') as { actions: object[] }).actions.at(-1)).toMatchObject({
      command: 'set-mode soft',
      uid: 0,
    });
  });

  it.each([[], ['--redact']])(
    'where the kernel does not list sockets, holds all but those and says so in words: %j',
    async (...args) => {
      await busyNode();
      const unpacked = await reportUnder(refusingTracing(desk.directory), ...args);
      const why = expect.stringMatching(refusedByPolicy) as string;
      expect(unpacked.manifest.missing).toEqual([withoutSockets(why)]);
      expect(unpacked.json('maps/conntrack.json')).toMatchObject({
        socketsMissing: why,
        flows: [],
      });
      const { checks } = unpacked.json('doctor.json') as { checks: { id: string; seen: string }[] };
      expect(checks.find(({ id }) => id === 'NITY027')?.seen).toContain('refuses tracing programs');
    },
  );

  it('holds ticks that nity replay reads and finds identical', async () => {
    await busyNode();
    const unpacked = await report();
    const trace = join(unpacked.root, 'traces/last-minutes.trace');
    const { code, stdout } = await desk.nity('replay', trace, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ identical: true });
  });

  it('holds what a dead agent left on the disk, and says that nobody explains', async () => {
    const child = await busyNode();
    const traces = join(desk.directory, 'traces');
    await until(() => existsSync(traces) && readdirSync(traces).some((n) => n.endsWith('.trace')));
    await desk.end(child, 'SIGKILL');
    const unpacked = await report();
    const missing = unpacked.manifest.missing.filter(({ path }) => !path.endsWith('#sockets'));
    expect(missing).toEqual([
      {
        path: 'agent.json',
        about: expect.any(String) as string,
        why: expect.stringContaining('No agent answers') as string,
      },
    ]);
    expect(unpacked.paths.filter((path) => /^traces\/nity-.*\.trace$/.test(path))).not.toEqual([]);
    expect(unpacked.paths).toContain('maps/slots.json');
  });

  it('never holds a secret, masked or not', async () => {
    await busyNode();
    for (const args of [[], ['--redact']]) {
      const unpacked = await report(...args);
      for (const secret of ['hunter22', 'abcdef0123456789']) {
        expect(unpacked.holding(secret), secret).toEqual([]);
      }
      rmSync(archive);
    }
  });

  it('masked, holds no address, no name of a service, no path of the operator’s', async () => {
    await busyNode();
    const unmasked = await report();
    const originals = [
      ...['shop', 'basket', 'billing', '127.96.202.1', '127.96.202.2', '127.0.0.1'],
      ...[hostname(), desk.cgroup, desk.directory, 'Ada asked'],
    ];
    // Or the search below could not fail.
    for (const original of originals.filter((text) => text !== desk.directory)) {
      expect(unmasked.holding(original), original).not.toEqual([]);
    }
    rmSync(archive);
    const masked = await report('--redact');
    for (const original of originals) expect(masked.holding(original), original).toEqual([]);
    expect(masked.manifest.redacted).toBe(true);
    // The bytes of a trace cannot be masked: what replay says of them can.
    expect(masked.paths.filter((path) => path.startsWith('traces/'))).toEqual([
      'traces/last-minutes.json',
    ]);
    expect(masked.json('traces/last-minutes.json')).toMatchObject({ identical: true });
  });

  it('masks the same address and name alike in every file, and tells them apart', async () => {
    await busyNode();
    const legendFile = join(desk.directory, 'legend.json');
    const unpacked = await report('--redact', '--legend', legendFile);
    const names = (path: string, of: string, key: string) =>
      (unpacked.json(path) as Record<string, Record<string, string>[]>)[of]?.map((one) => one[key]);
    const routes = new Set(names('maps/slots.json', 'routes', 'route'));
    expect(routes.size).toBe(2);
    expect(new Set(names('agent.json', 'routes', 'name'))).toEqual(routes);
    expect(new Set(names('maps/backends.json', 'backends', 'route'))).toEqual(routes);

    const legend = JSON.parse(readFileSync(legendFile, 'utf8')) as Record<string, string>;
    const unmask = (text = '') => text.replaceAll(/[a-z]+-\d+/g, (mask) => legend[mask] ?? mask);
    expect([...routes].map(unmask).sort()).toEqual(['shop/basket:http', 'shop/billing:http']);
    expect(statSync(legendFile).mode & 0o777).toBe(0o600);
    expect(unpacked.holding('legend')).toEqual([]);
  });

  it('without root, holds what a stranger may see and says what it could not get', async () => {
    await desk.load();
    const place = join(desk.directory, 'strangers');
    mkdirSync(place, { mode: 0o777 });
    for (const open of [desk.directory, place]) chmodSync(open, 0o777);
    const file = join(place, 'report.tar.gz');
    const outcome = await desk.nityAs(65_534, ['bugreport', '-o', file, '--json']);
    expect(outcome.code, outcome.stdout + outcome.stderr).toBe(0);
    const { missing } = JSON.parse(outcome.stdout) as Manifest;
    expect(missing.find(({ path }) => path === 'maps/')?.why).toContain('uid 65534');
    const unpacked = new Unpacked(file, join(desk.directory, 'unpacked'));
    expect(unpacked.manifest.uid).toBe(65_534);
    expect(unpacked.paths).toEqual(expect.arrayContaining(['doctor.json', 'versions.json']));
  });

  it('works where nothing is loaded, and where the knobs file is broken says so in its place', async () => {
    const config = join(desk.directory, 'broken.yaml');
    writeFileSync(config, 'tickMs: soon\n');
    const unpacked = await report('--config', config);
    const why = (path: string) =>
      unpacked.manifest.missing.find((part) => part.path === path)?.why ?? '';
    expect(why('maps/')).toContain('No dataplane is loaded');
    expect(why('knobs.json')).toContain(`${config}:1:9: tickMs must be`);
  });

  it('leaves no half of an archive where there is no room, nor one without its legend', async () => {
    const script = `mount -t tmpfs -o size=4k none ${desk.directory}/small &&
      "$0" "$1" bugreport -o ${desk.directory}/small/a.tar.gz; echo $?; ls ${desk.directory}/small`;
    mkdirSync(join(desk.directory, 'small'));
    const cli = join(root, 'bin/run.js');
    const { stdout, stderr } = spawnSync(
      ...(['unshare', ['-m', 'sh', '-c', script, process.execPath, cli]] as const),
      { encoding: 'utf8', env: desk.environment },
    );
    expect(stdout).toBe('2\n');
    expect(stderr).toMatch(/^Error: \S+a\.tar\.gz could not be written \(ENOSPC\)\.\n→ .*\n$/);
    const nowhere = join(desk.directory, 'nowhere/legend.json');
    const outcome = await desk.nity('bugreport', '--redact', '--legend', nowhere, '-o', archive);
    expect(outcome).toMatchObject({ code: 2, stdout: '' });
    expect(outcome.stderr).toContain(`${nowhere} could not be written (ENOENT).`);
    expect(existsSync(archive)).toBe(false);
  });

  it('is written down with who made it, is its owner’s alone, and never overwrites', async () => {
    await report('--reason', 'for the vendor');
    expect(statSync(archive).mode & 0o777).toBe(0o600);
    const log = readFileSync(join(desk.directory, 'audit.jsonl'), 'utf8').trim().split('\n');
    expect(JSON.parse(log.at(-1) ?? '')).toMatchObject({
      command: 'bugreport',
      uid: 0,
      reason: 'for the vendor',
      after: { archive, redacted: false },
    });
    const bytes = readFileSync(archive);
    const again = await desk.nity('bugreport', '-o', archive);
    expect(again.code).toBe(2);
    expect(again.stderr).toContain('is there already');
    expect(readFileSync(archive)).toEqual(bytes);
  });
});
