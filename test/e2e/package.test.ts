// nity as somebody else gets it: packed, installed into an empty prefix, run by the Nodes
// it promises, with its addon fitting and not. Without a registry to ask, the packages it
// depends on come from this checkout, those and no others.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { unload } from '../../src/lib/dataplane/unload.js';
import { unavailable } from '../kernel/rig.js';
import { buildPatienceMs, root, runProgram, type Outcome } from './shell.js';

const home = mkdtempSync(join(tmpdir(), 'nity-package-'));
const prefix = join(home, 'prefix');
const installed = join(prefix, 'lib/node_modules/nity');
const addon = join(installed, 'bpf/build/nity.node');
const node24 = findNode24();

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

let packed: Packed;

/** Not the build: it is of this checkout, and is tested as it is. */
function pack(): Packed {
  const told = execFileSync(
    'npm',
    ['pack', '--ignore-scripts', '--json', '--pack-destination', home],
    { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const [one] = JSON.parse(told.toString()) as Packed[];
  if (one === undefined) throw new Error('npm pack packed nothing');
  return one;
}

function install(): void {
  const archive = join(home, packed.filename);
  const { status } = spawnSync(
    'npm',
    ['install', '--global', '--prefix', prefix, '--prefer-offline', '--no-audit', archive],
    { stdio: 'ignore', timeout: 60_000 },
  );
  if (status === 0) return;
  console.warn('npm could not install: the packages are copied from this checkout instead');
  rmSync(prefix, { recursive: true, force: true });
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', archive, '-C', installed, '--strip-components=1']);
  const wanted = execFileSync('npm', ['ls', '--all', '--omit=dev', '--parseable'], { cwd: root });
  for (const path of wanted.toString().trim().split('\n')) {
    if (path !== root) cpSync(path, join(installed, relative(root, path)), { recursive: true });
  }
  mkdirSync(join(prefix, 'bin'));
  symlinkSync(join(installed, 'bin/run.js'), join(prefix, 'bin/nity'));
}

/** Of the npm package `node`; null, said out loud, where it is not to be had. */
function findNode24(): string | null {
  const script = 'process.stdout.write(process.execPath)';
  const { status, stdout } = spawnSync(
    'npx',
    ['--yes', '--prefer-offline', '--package', 'node@24', 'node', '-e', script],
    { encoding: 'utf8', timeout: 120_000 },
  );
  if (status === 0) return stdout;
  console.warn('the package is not tried with Node 24, which npm could not get');
  return null;
}

const run = (node: string, args: readonly string[], environment: Record<string, string> = {}) =>
  runProgram(
    node,
    [join(prefix, 'bin/nity'), ...args],
    { HOME: home, PATH: [dirname(node), process.env['PATH']].join(delimiter), ...environment },
    home,
    buildPatienceMs,
  );
const nity = (...args: readonly string[]): Promise<Outcome> => run(process.execPath, args);

beforeAll(() => {
  packed = pack();
  install();
}, 120_000);

afterAll(() => {
  rmSync(home, { recursive: true });
});

describe('the package', () => {
  it('holds what runs, what the addon is built from and the pages, and nothing else', () => {
    const expected = [
      /^(LICENSE|README\.md|package\.json|oclif\.manifest\.json|bin\/run\.js)$/,
      /^dist\/(commands|lib)\/.+\.js$/,
      /^bpf\/build\/(nity\.bpf\.o|sockets\.bpf\.o|nity\.node)$/,
      /^bpf\/(Makefile|[\w.]+\.[ch]|addon\/\w+\.(cc|h)|model\/\w+\.[ch])$/,
      /^docs\/.+\.md$/,
      /^share\//,
    ];
    const paths = packed.files.map(({ path }) => path);
    expect(paths.filter((path) => !expected.some((one) => one.test(path)))).toEqual([]);
    for (const [i, one] of expected.entries()) {
      expect(
        paths.some((path) => one.test(path)),
        `pattern ${i}`,
      ).toBe(true);
    }
    for (const name of ['nity.bpf.o', 'sockets.bpf.o', 'nity.node']) {
      expect(paths).toContain(`bpf/build/${name}`);
    }
  });

  it('holds each page that an error names', () => {
    const code = packed.files.filter(({ path }) => path.startsWith('dist/'));
    const named = code.flatMap(({ path }) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(/docs\/[\w/-]+\.md/g)].map(
        ([page]) => page,
      ),
    );
    expect(named).toContain('docs/config/services.md');
    expect(packed.files.map(({ path }) => path)).toEqual(expect.arrayContaining(named));
  });
});

describe.each([
  ['the Node of these tests', process.execPath] as const,
  ...(node24 === null ? [] : [['Node 24', node24] as const]),
])('installed in a clean prefix, with %s', (_, node) => {
  it('says what it is, with the addon that came with it', async () => {
    const { code, stdout, stderr } = await run(node, ['version', '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      addonProblem: null,
      libbpf: expect.any(String) as string,
      node: execFileSync(node, ['--version']).toString().trim(),
    });
  });

  it('shows its commands and runs the simulation', async () => {
    expect((await run(node, ['--help'])).stdout).toContain('run-agent');
    const scenario = join(root, 'test/scenarios/hung.yaml');
    const { code, stderr } = await run(node, ['simulate', scenario, '--policy', 'nity']);
    expect(code, stderr).toBe(0);
  });

  it.skipIf(unavailable !== undefined)(
    'loads into the kernel, is inspected and unloaded',
    async () => {
      const name = `nity-test-package-${process.pid}`;
      const pinPath = `/sys/fs/bpf/${name}`;
      const cgroup = join(cgroupRoot(), name);
      const environment = { NITY_PIN_PATH: pinPath, NITY_AUDIT_LOG: join(home, 'audit.jsonl') };
      mkdirSync(cgroup);
      try {
        const loaded = await run(node, ['load', '--cgroup', cgroup, '--json'], environment);
        expect(loaded.code, loaded.stdout).toBe(0);
        const slots = await run(node, ['inspect', 'slots', '--json'], environment);
        expect(JSON.parse(slots.stdout)).toMatchObject({ schemaVersion: 1, routes: [] });
        expect((await run(node, ['unload'], environment)).code).toBe(0);
        expect(existsSync(pinPath)).toBe(false);
      } finally {
        unload({ pinPath, force: true });
        rmdirSync(cgroup);
      }
    },
  );
});

describe('where the addon does not fit', () => {
  const spoil = (text: string) => {
    writeFileSync(addon, text);
  };

  it('says so, what does not fit and what to do, and ends with 3', async () => {
    const good = readFileSync(addon);
    try {
      spoil('of another machine');
      const words = await nity('inspect', 'slots');
      expect(words.code).toBe(3);
      expect(words.stderr).toBe(
        `Error: The native addon does not load here: ${addon} is not a library for ${process.arch}.\n` +
          '→ Build it for this machine with `nity build-addon`.\n',
      );
      const machine = await nity('inspect', 'slots', '--json');
      expect(machine).toMatchObject({ code: 3, stderr: '' });
      expect(JSON.parse(machine.stdout)).toMatchObject({ error: { code: 'KERNEL' } });
    } finally {
      writeFileSync(addon, good);
    }
  });

  it('still gives help, its version, knobs and a bug report', async () => {
    renameSync(addon, `${addon}.away`);
    try {
      expect((await nity('--help')).code).toBe(0);
      expect((await nity('config')).code).toBe(0);
      const version = await nity('version', '--json');
      expect(JSON.parse(version.stdout)).toMatchObject({
        schema: null,
        libbpf: null,
        addonProblem: expect.stringContaining('is not there') as string,
      });
      const report = await nity('bugreport', '-o', join(home, 'report.tar.gz'), '--json');
      const { files, missing } = JSON.parse(report.stdout) as Record<
        'files' | 'missing',
        { readonly path: string; readonly why: string }[]
      >;
      expect(files.map(({ path }) => path)).toEqual(
        expect.arrayContaining(['versions.json', 'knobs.json', 'audit.json']),
      );
      expect(missing.find(({ path }) => path === 'maps/')?.why).toContain('does not load here');
    } finally {
      renameSync(`${addon}.away`, addon);
    }
  });

  it.skipIf(spawnSync('g++', ['--version']).status !== 0)(
    'builds one that does',
    async () => {
      spoil('of another machine');
      const built = await nity('build-addon', '--json');
      expect(built.code, built.stderr).toBe(0);
      expect(JSON.parse(built.stdout)).toMatchObject({ schemaVersion: 1, addon });
      expect((await nity('inspect', 'slots')).code).toBe(4);
    },
    120_000,
  );

  it('says what it needs where it cannot be built', async () => {
    const tools = join(home, 'tools');
    mkdirSync(tools);
    const make =
      '#!/bin/sh\necho "fatal error: bpf/libbpf.h: No such file or directory" >&2; exit 2\n';
    writeFileSync(join(tools, 'make'), make, { mode: 0o755 });
    const path = [tools, process.env['PATH']].join(delimiter);
    const failed = await run(process.execPath, ['build-addon'], { PATH: path });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain(
      'Error: The addon could not be built: fatal error: bpf/libbpf.h: No such file or directory.\n→ It needs make, ',
    );
  });
});
