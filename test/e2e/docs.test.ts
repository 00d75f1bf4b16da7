// Every session that the documentation shows is typed into a shell, on a real dataplane of
// its own: each command ends as the page says, and shows the tables and errors that it shows.
// And whatever else the pages call nity by exists.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readCatalogue } from '../../src/lib/cli/catalogue.js';
import { refusedHere } from '../kernel/refusal.js';
import { unavailable, until } from '../kernel/rig.js';
import { Desk } from './desk.js';
import { normal, readPage, type Step } from './page.js';

const root = join(import.meta.dirname, '../..');
const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const read = (page: string) => readFileSync(join(root, page), 'utf8');
const sessions = pages.filter((page) => /^\$ /m.test(read(page)));
/** Other pages begin with what the first hour has set up. */
const { files: ofTheFirstHour } = readPage(read('docs/guide/first-hour.md'));

const allExamples = readCatalogue(root).commands.flatMap(({ examples }) => examples);
/** What takes a minute, another shell, or the build of this checkout; a test of its own types it. */
const elsewhere = new Set([
  'nity demo',
  'nity demo --fast --json',
  'nity demo --model',
  'nity build-addon',
  'source <(nity completion zsh)',
  'nity completion fish | source',
]);
/** What ends only when it is told to. */
const endless = new Set([
  'nity inspect slots --route shop/cart:http --watch',
  'nity trace',
  'nity trace shop/cart:http --outcome refused',
  'nity trace --backend 10.1.2.3:8080 --count 20',
  'nity trace --pid 4711 --for 10s --json',
]);
/** What ends otherwise, and rightly: this node has an agent already, and no such files. */
const otherwise = new Map([
  ['nity flip --hold 5m --expect-epoch 812', 5],
  // Its routes are from a file: no cluster is followed of which anything could be skipped.
  ['nity inspect routes --skipped', 4],
  ['nity inspect slots --route shop/cart:http --watch', 130],
  ['nity load --cgroup /sys/fs/cgroup/kubepods.slice --dry-run', 2],
  ['nity replay /var/lib/nity/traces', 2],
  ['nity run-agent --services services.yaml', 5],
  ['nity run-agent --kubeconfig ~/.kube/config --namespaces shop,bank', 5],
  ['nity run-agent --services services.yaml --knob tickMs=100 --log-level warn', 5],
  ['nity run-agent --services services.yaml --record /var/lib/nity/traces', 5],
  ['nity simulate broken.yaml --seed 7 --shrink smaller.yaml', 2],
  ['nity unload', 5],
  ['nity unload --dry-run', 5],
  // It warns where the kernel does not list sockets, for as long as one waits.
  ['nity doctor --wait 30s --fail-on warn', refusedHere === null ? 0 : 1],
]);

/** Whoever reads the page waits until the agent serves, which takes longer on a busy machine. */
const untilItServes =
  "for i in $(seq 60); do nity inspect field 2>&1 | grep -q 'mode *normal' && break; sleep 0.5; done";

describe.skipIf(unavailable !== undefined)('a session of the documentation', () => {
  let desk: Desk;
  beforeEach(() => {
    desk = new Desk();
  });
  afterEach(() => desk.close());

  /** The output and the exit code of each step. */
  async function type(steps: readonly Step[]): Promise<{ text: string; code: number }[]> {
    const bin = join(desk.directory, 'bin');
    mkdirSync(bin);
    const shim = `#!/bin/sh\nexec ${process.execPath} ${join(root, 'bin/run.js')} "$@"\n`;
    writeFileSync(join(bin, 'nity'), shim);
    chmodSync(join(bin, 'nity'), 0o755);
    const script = [
      `cd ${desk.directory}`,
      `echo $$ > ${desk.cgroup}/cgroup.procs`,
      'set -m',
      ...steps.flatMap(({ command }, i) => [
        command,
        `echo "@@${i} $?"`,
        ...(/run-agent.*&/.test(command) ? [untilItServes] : []),
      ]),
      'kill -9 $(jobs -p) 2>/dev/null',
      `echo $$ > ${join(desk.cgroup, '..')}/cgroup.procs`,
      '',
    ].join('\n');
    const shell = spawn('bash', ['-c', `exec 2>&1\n${script}`], {
      env: {
        ...desk.environment,
        PATH: `${bin}:${process.env['PATH'] ?? ''}`,
        NITY_CGROUP: desk.cgroup,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    shell.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
    await once(shell, 'close');
    const said = output.replaceAll(desk.pinPath, '/sys/fs/bpf/nity');
    return steps.map((_, i) => {
      const [, before = '', code = ''] =
        new RegExp(`${i === 0 ? '^' : `@@${i - 1} \\d+\\n`}([^]*?)@@${i} (\\d+)\\n`).exec(said) ??
        [];
      return { text: before, code: code === '' ? -1 : Number(code) };
    });
  }

  it.each(sessions)('%s', async (page) => {
    const { steps, files, leftOut } = readPage(read(page));
    for (const [name, content] of Object.entries({ ...ofTheFirstHour, ...files })) {
      writeFileSync(join(desk.directory, name), content);
    }
    cpSync(join(root, 'test/fixtures'), join(desk.directory, 'test/fixtures'), { recursive: true });
    expect(steps.length + leftOut.length).toBeGreaterThan(0);
    const typed = await type(steps);
    steps.forEach(({ command, code, shows }, i) => {
      const { text, code: got } = typed[i] ?? { text: '', code: -1 };
      expect(got, `${command}\n${text}`).toBe(code);
      const lines = text.split('\n').map(normal);
      for (const line of shows) expect(lines, command).toContain(normal(line));
    });
  });

  it('docs/commands.md, by the examples of each command', { timeout: 600_000 }, async () => {
    cpSync(join(root, 'test/scenarios'), join(desk.directory, 'test/scenarios'), {
      recursive: true,
    });
    cpSync(
      join(root, 'test/fixtures/traces/format-1.2-law-2.trace'),
      join(desk.directory, 'nity.trace'),
    );
    writeFileSync(join(desk.directory, 'knobs.yaml'), 'tickMs: 100\n');
    const serve = (addresses: readonly string[]) => {
      const backends = addresses.map((address) => ({ address, port: 8080 }));
      const ports = [{ name: 'http', port: 80 }];
      const cart = { name: 'shop/cart', vip: '127.96.0.10', ports, backends };
      writeFileSync(desk.services, JSON.stringify({ services: [cart] }));
    };
    serve(['127.0.0.1']);
    const { log } = await desk.agent();
    // A second projection, or there is no table to flip back to.
    serve(['127.0.0.1', '10.1.2.3']);
    await until(() => /changed: 1 routes[^]*epoch \d+: /.test(log()));
    const examples = allExamples.filter((example) => !elsewhere.has(example));
    for (const example of [...elsewhere, ...otherwise.keys(), ...endless]) {
      expect(allExamples, 'it is an example still').toContain(example);
    }
    // As Ctrl-C does it: once. Without --foreground the signal comes twice.
    // Not before it is under way, on a busy machine either: what has not begun is ended by it.
    const interrupted = 'timeout --foreground --preserve-status -s INT 10';
    const typed = await type(
      examples.map((example) => ({
        command: endless.has(example) ? `${interrupted} ${example}` : example,
        ...{ code: 0, shows: [] },
      })),
    );
    examples.forEach((example, i) => {
      const { text, code } = typed[i] ?? { text: '', code: -1 };
      expect(code, `${example}\n${text}`).toBe(otherwise.get(example) ?? 0);
    });
  });
});

describe('what the documentation calls nity by', () => {
  interface Manifest {
    readonly commands: Readonly<
      Record<string, { readonly flags: Readonly<Record<string, { readonly char?: string }>> }>
    >;
  }
  const { commands } = JSON.parse(read('oclif.manifest.json')) as Manifest;

  /** `nity …` in a block or in a line, up to where the shell would end it. */
  function calls(text: string): string[][] {
    const inBlocks = [...text.matchAll(/^(?:\$ |sudo )?nity ([^#\n]*)/gm)];
    const inLines = [...text.matchAll(/`nity ([^`]*)`/g)];
    return [...inBlocks, ...inLines].map(([, words = '']) =>
      (words.split(/[|>;&]/)[0] ?? '').trim().split(/\s+/),
    );
  }

  /** The page on typing mistakes makes one. */
  const mistaken = 'slots';

  it.each(pages)('exists: %s', (page) => {
    for (const words of calls(read(page))) {
      const [first = '', second = ''] = words.filter((word) => !word.startsWith('-'));
      // A flag alone, or a placeholder.
      if (!/^[a-z][a-z-]+$/.test(first) || first === mistaken) continue;
      const command = commands[`${first}:${second}`] ?? commands[first];
      expect(command !== undefined || hasTopic(first), words.join(' ')).toBe(true);
      for (const word of words.filter((one) => /^--?[a-z]/.test(one))) {
        const [flag = ''] = word.replace(/^-+/, '').split(/[=…]/);
        const flags = Object.entries(command?.flags ?? {});
        const known = flags.some(
          ([name, { char }]) =>
            (word.includes('…') ? name.startsWith(flag) : name === flag) || char === flag,
        );
        expect(known || flag === 'help', words.join(' ')).toBe(true);
      }
    }
  });

  function hasTopic(word: string): boolean {
    return Object.keys(commands).some((name) => name.startsWith(`${word}:`));
  }
});
