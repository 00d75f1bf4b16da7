// Measures what `nity top` takes of a processor while it is watched, on a node of 1,000
// routes of ten backends, a tenth of which answer requests, with a real agent beside it. The
// peer, in turns, is the top(1) of procps, which reads every process of the machine.
// Needs root.
//
//   npm run build && npx tsx bench/top.ts [--json] [--quick]
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type * as CgroupModule from '../src/lib/dataplane/cgroup.js';
import type * as PinsModule from '../src/lib/dataplane/pins.js';
import type * as UnloadModule from '../src/lib/dataplane/unload.js';
import { built } from './built.js';
import { machine } from './machine.js';
import { atMost, head, row, table } from './report.js';
import { series } from './statistics.js';
import { end } from './undo.js';

const { cgroupRoot } = await built<typeof CgroupModule>('dataplane/cgroup');
const { openPlane } = await built<typeof PinsModule>('dataplane/pins');
const { unload } = await built<typeof UnloadModule>('dataplane/unload');

const rounds = process.argv.includes('--quick') ? 3 : 11;
const watchedMs = 10_000;
const startMs = 3_000;
const routes = 1_000;
const backends = 10;
const ticksPerSecond = 100;

const own = `nity-bench-top-${process.pid}`;
const pinPath = `/sys/fs/bpf/${own}`;
const directory = mkdtempSync(join(tmpdir(), 'nity-top-'));
const cgroup = join(cgroupRoot(), own);
const nity = join(import.meta.dirname, '../bin/run.js');
const environment = { ...process.env, NITY_RUN_DIR: directory, TERM: 'xterm', LC_ALL: 'C.UTF-8' };

function writeServices(path: string): void {
  const services = Array.from({ length: routes }, (_, i) => ({
    name: `bench/service-${i}`,
    vip: `127.96.${i >> 8}.${i & 255}`,
    ports: [{ name: 'http', port: 80 }],
    backends: Array.from({ length: backends }, (_, b) => ({
      address: `127.100.${b}.${i % 250}`,
      port: 8_000 + (i >> 8),
    })),
  }));
  writeFileSync(path, JSON.stringify({ services }));
}

/** Processor time of a process so far, in ms (proc(5): utime and stime). */
function usedMs(pid: number): number {
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  const fields = rest.split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')[0]);
}

interface Watched {
  /** Share of one processor. */
  readonly percent: number;
  readonly bytesPerSecond: number;
}

async function watched(command: string): Promise<Watched> {
  const size = 'stty cols 120 rows 40';
  const child = spawn('script', ['-qfec', `${size}; exec ${command}`, '/dev/null'], {
    env: environment,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => (bytes += chunk.length));
  await sleep(startMs);
  const pid = childOf(child.pid ?? 0);
  const [beforeMs, beforeBytes] = [usedMs(pid), bytes];
  await sleep(watchedMs);
  const percent = ((usedMs(pid) - beforeMs) / watchedMs) * 100;
  const bytesPerSecond = ((bytes - beforeBytes) * 1000) / watchedMs;
  process.kill(pid, 'SIGTERM');
  await sleep(300);
  await end(child);
  return { percent, bytesPerSecond };
}

mkdirSync(cgroup);
const services = join(directory, 'services.yaml');
writeServices(services);
const agent = spawn(
  process.execPath,
  [nity, 'run-agent', '--services', services, '--cgroup', cgroup, '--pin-path', pinPath],
  { env: environment, stdio: ['ignore', 'ignore', 'pipe'] },
);
let busy: NodeJS.Timeout | undefined;
try {
  let log = '';
  agent.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  for (let waited = 0; !log.includes('epoch') && waited < 100; waited++) await sleep(100);
  const plane = openPlane(pinPath);
  // A tenth of the routes answers: 20 requests a second each, of 2 to 4 ms.
  busy = setInterval(() => {
    for (let index = 1; index <= (routes * backends) / 10; index++) {
      const { picks, established, answered } = plane.backendCounters.read(index);
      const histogram = plane.backendCounters.read(index).firstByteHistogram;
      histogram[20] = (histogram[20] ?? 0) + 2;
      const next = { picks: picks + 2n, established: established + 2n, answered: answered + 2n };
      plane.backendCounters.write(index, { ...next, firstByteHistogram: histogram });
    }
  }, 1_000);

  const quoted = `${process.execPath} ${nity} top --pin-path ${pinPath}`;
  const ways = [
    { what: 'nity top', command: quoted, target: atMost(3) },
    { what: 'nity top, one route', command: `${quoted} --route bench/service-7:http` },
    { what: 'top of procps', command: 'top -d 1' },
  ];
  const taken = new Map(ways.map(({ what }) => [what, [] as Watched[]]));
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`\rround ${round + 1} of ${rounds} `);
    for (const [i] of ways.entries()) {
      const way = ways[(i + round) % ways.length];
      if (way !== undefined) taken.get(way.what)?.push(await watched(way.command));
    }
  }
  process.stderr.write('\n');
  const figures = ways.map(({ what, target }) => {
    const of = taken.get(what) ?? [];
    return {
      what,
      target,
      percent: series(of.map(({ percent }) => percent)),
      bytes: series(of.map(({ bytesPerSecond }) => bytesPerSecond)),
    };
  });
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify(figures)}\n`);
  } else {
    const load = loadavg().map((value) => value.toFixed(1));
    process.stdout.write(
      [
        `${machine()}, load ${load.join(' ')}`,
        '',
        'Share of a processor, in %',
        table([head, ...figures.map(({ what, percent, target }) => row(what, percent, 2, target))]),
        '',
        'Bytes a second to the terminal',
        table([head, ...figures.map(({ what, bytes }) => row(what, bytes, 0))]),
        '',
      ].join('\n'),
    );
  }
  plane.close();
} finally {
  clearInterval(busy);
  await end(agent);
  unload({ pinPath, force: true });
  rmdirSync(cgroup);
  rmSync(directory, { recursive: true, force: true });
}
