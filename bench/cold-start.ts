// Measures how long a command takes from nothing to its end: what an operator waits for.
// Beside it, in turns within each round, Node doing nothing, the least that an oclif
// command can be, and bpftool. A dataplane of 100 routes is loaded, so it needs root.
//
//   npm run build && npx tsx bench/cold-start.ts [--json] [--quick]
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';

import type * as AgentModule from '../src/lib/agent/agent.js';
import type * as KnobsModule from '../src/lib/config/knobs.js';
import type * as CgroupModule from '../src/lib/dataplane/cgroup.js';
import type * as LoaderModule from '../src/lib/dataplane/loader.js';
import type * as PinsModule from '../src/lib/dataplane/pins.js';
import type * as UnloadModule from '../src/lib/dataplane/unload.js';
import { routeName, type Route } from '../src/lib/routes/route-set.js';
import { built } from './built.js';
import { machine } from './machine.js';
import { atMost, head, row, table } from './report.js';
import { series } from './statistics.js';

const { Agent } = await built<typeof AgentModule>('agent/agent');
const { defaultKnobs } = await built<typeof KnobsModule>('config/knobs');
const { cgroupRoot } = await built<typeof CgroupModule>('dataplane/cgroup');
const { load } = await built<typeof LoaderModule>('dataplane/loader');
const { openPlane } = await built<typeof PinsModule>('dataplane/pins');
const { unload } = await built<typeof UnloadModule>('dataplane/unload');

const rounds = process.argv.includes('--quick') ? 7 : 41;
const routes = 100;
const root = join(import.meta.dirname, '..');
const own = `nity-bench-start-${process.pid}`;
const pinPath = `/sys/fs/bpf/${own}`;
const directory = mkdtempSync(join(tmpdir(), 'nity-start-'));

interface Way {
  readonly what: string;
  readonly command: readonly [string, ...string[]];
  readonly targetMs?: number;
}

/** One command that prints one line, with the same oclif, and nothing else. */
function bareOclif(): string {
  const cli = join(directory, 'bare');
  mkdirSync(join(cli, 'commands'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(cli, 'node_modules'));
  const oclif = { bin: 'bare', commands: './commands' };
  const manifest = { name: 'bare', version: '1.0.0', type: 'module', files: ['commands'], oclif };
  writeFileSync(join(cli, 'package.json'), JSON.stringify(manifest));
  writeFileSync(
    join(cli, 'commands/hello.js'),
    `import { Command } from '@oclif/core';
export default class Hello extends Command { async run() { this.log('hello'); } }`,
  );
  writeFileSync(
    join(cli, 'run.js'),
    `import { execute } from '@oclif/core'; await execute({ dir: import.meta.url });`,
  );
  const made = spawnSync(join(root, 'node_modules/.bin/oclif'), ['manifest'], { cwd: cli });
  if (made.status !== 0) throw new Error(`oclif manifest: ${made.stderr.toString()}`);
  return join(cli, 'run.js');
}

function servedRoutes(): Route[] {
  return Array.from({ length: routes }, (_, i) => ({
    name: routeName(`bench/service-${i}`, 'http'),
    addresses: [{ vip: `127.96.0.${i + 1}`, port: 80, protocol: 'TCP' as const }],
    backends: Array.from({ length: 4 }, (_, b) => ({ address: `127.100.${b}.${i}`, port: 8080 })),
    affinity: { kind: 'none' as const },
    gear: 'auto' as const,
  }));
}

function timeMs([file, ...args]: Way['command']): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(file, args, {
    env: { ...process.env, NITY_PIN_PATH: pinPath, NODE_ENV: 'production' },
    maxBuffer: 64 << 20,
  });
  const took = performance.now() - start;
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${stderr.toString()}`);
  return took;
}

const cgroup = join(cgroupRoot(), own);
mkdirSync(cgroup);
try {
  load({ pinPath, cgroup, knobs: defaultKnobs });
  const plane = openPlane(pinPath);
  const agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
  agent.serve(servedRoutes());
  for (let tick = 0; tick < 3; tick++) agent.tick();
  plane.close();

  const node = process.execPath;
  const nity = join(root, 'bin/run.js');
  const ways: readonly Way[] = [
    { what: 'node, nothing', command: [node, '-e', '0'] },
    { what: 'nity --help', command: [node, nity, '--help'], targetMs: 200 },
    { what: 'an oclif command, bare', command: [node, bareOclif(), 'hello'] },
    { what: 'nity version', command: [node, nity, 'version'] },
    { what: 'nity inspect slots', command: [node, nity, 'inspect', 'slots'], targetMs: 300 },
    {
      what: 'nity inspect slots --json',
      command: [node, nity, 'inspect', 'slots', '--json'],
      targetMs: 300,
    },
    {
      what: 'bpftool map dump, of the slots',
      command: ['bpftool', 'map', 'dump', 'pinned', join(pinPath, 'maps/slot_table_a')],
    },
  ];
  const times = ways.map((): number[] => []);
  const loadBefore = loadavg()[0] ?? NaN;
  for (let round = -2; round < rounds; round++) {
    // Each round begins with another, so that none always comes after the same.
    for (let i = 0; i < ways.length; i++) {
      const at = (i + Math.max(0, round)) % ways.length;
      const way = ways[at];
      if (way === undefined) continue;
      const took = timeMs(way.command);
      if (round >= 0) times[at]?.push(took);
    }
  }
  const measured = ways.map(({ what, targetMs }, i) => ({
    what,
    targetMs,
    ms: series(times[i] ?? []),
  }));
  const text = [
    `${machine()}, load ${loadBefore.toFixed(1)} to ${(loadavg()[0] ?? NaN).toFixed(1)}`,
    '',
    `From nothing to the end of a command, in ms; ${routes} routes are loaded`,
    '',
    table([
      head,
      ...measured.map(({ what, targetMs, ms }) =>
        row(what, ms, 0, targetMs === undefined ? undefined : atMost(targetMs)),
      ),
    ]),
  ].join('\n');
  console.log(process.argv.includes('--json') ? JSON.stringify(measured, null, 1) : text);
} finally {
  unload({ pinPath, force: true });
  rmdirSync(cgroup);
  rmSync(directory, { recursive: true });
}
