// A whole agent on a large cluster: how soon everything is programmed, how late changes are,
// what memory it takes and for how long it blocks; and what a thousand idle agents ask for.
//
//   npm run build && npx tsx bench/kubernetes-scale.ts [--json] [--quick] [--no-record] [--profile DIRECTORY]
//
// As root: the agent runs as it is installed, with real maps, on a cgroup of its own.
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { askCluster } from '../src/lib/agent/report.js';
import { cgroupRoot } from '../src/lib/dataplane/cgroup.js';
import { unload } from '../src/lib/dataplane/unload.js';
import type { ClusterStatus } from '../src/lib/kubernetes/status.js';
import type { Order, Report } from './kubernetes/server.js';
import { idleRequests } from './kubernetes/idle.js';
import { machine } from './machine.js';
import { table, type Row } from './report.js';

/** What kubernetes/probe.mjs says. */
interface Probed {
  readonly rssMb: number;
  readonly peakRssMb: number;
  readonly mappedMb: number;
  readonly heapMb: number;
  readonly longestBlockMs: number;
  readonly p99BlockMs: number;
  readonly cpuMs: number;
}

const quick = process.argv.includes('--quick');
const profile = process.argv[process.argv.indexOf('--profile') + 1];
const profiled = process.argv.includes('--profile') && profile !== undefined;
/** Without the flight recorder, to see what it costs. */
const recording = process.argv.includes('--no-record') ? ['--no-record'] : [];
/** The bound of the DaemonSet. */
const heap = ['--max-old-space-size=384'];
const services = quick ? 500 : 5_000;
const endpoints = 20;
const perSecond = 100;
/** The agent's percentiles are of its last 1,024 changes: it is asked after each such part. */
const parts = quick ? 1 : 3;
const partSeconds = 11;
const giveUpMs = 120_000;

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

class Server {
  private readonly process: ChildProcess;

  constructor() {
    this.process = fork(here('kubernetes/server.ts'), { execArgv: ['--import', 'tsx'] });
  }

  async say(order: Order, answer: Report['kind']): Promise<Report> {
    const heard = this.hear(answer);
    this.process.send(order);
    return heard;
  }

  async hear(kind: Report['kind']): Promise<Report> {
    for (;;) {
      const [report] = (await once(this.process, 'message')) as [Report];
      if (report.kind === kind) return report;
    }
  }

  async close(): Promise<void> {
    const gone = once(this.process, 'exit');
    this.process.kill();
    await gone;
  }
}

class Agent {
  readonly pinPath = `/sys/fs/bpf/nity-bench-scale-${process.pid}`;
  private readonly cgroup = join(cgroupRoot(), `nity-bench-scale-${process.pid}`);
  private readonly process: ChildProcess;
  /** Rejects if it ends by itself. */
  readonly ended: Promise<never>;
  log = '';

  constructor(directory: string, kubeconfig: string) {
    mkdirSync(this.cgroup);
    process.env['NITY_RUN_DIR'] = directory;
    const hooks = ['--import', here('kubernetes/probe.mjs')];
    const profiling = profiled ? ['--cpu-prof', '--cpu-prof-dir', profile] : [];
    const run = here('../bin/run.js');
    // Before the agent: a profiler's signals would interrupt the verifier.
    execFileSync(process.execPath, [
      run,
      'load',
      '--cgroup',
      this.cgroup,
      '--pin-path',
      this.pinPath,
    ]);
    const cli = [run, 'run-agent', '--kubeconfig', kubeconfig, '--pin-path', this.pinPath];
    this.process = spawn(
      process.execPath,
      [...heap, ...hooks, ...profiling, ...cli, ...recording],
      {
        env: { ...process.env, NODE_NAME: 'node-1', NITY_AUDIT_LOG: join(directory, 'audit') },
        stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      },
    );
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    this.ended = once(this.process, 'exit').then(([code]) => {
      throw new Error(`the agent ended with ${String(code)}:\n${this.log.slice(0, 4000)}`);
    });
    this.ended.catch(() => undefined);
    const interrupted = new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const)
        process.on(signal, () => {
          resolve();
        });
    });
    void interrupted
      .then(() => this.close())
      .finally(() => {
        rmSync(directory, { recursive: true, force: true });
        process.exit(130);
      });
  }

  async probe(): Promise<Probed> {
    const answer = once(this.process, 'message');
    this.process.send('read');
    return ((await answer) as [Probed])[0];
  }

  async status(holds: (status: ClusterStatus) => boolean): Promise<ClusterStatus> {
    const deadlineMs = performance.now() + giveUpMs;
    for (;;) {
      const status = await askCluster(this.pinPath).catch(() => null);
      if (status !== null && holds(status)) return status;
      if (performance.now() > deadlineMs || this.process.exitCode !== null) {
        throw new Error(`the agent did not come so far:\n${this.log.slice(0, 4000)}`);
      }
      await sleep(50);
    }
  }

  /** When the log first had `words`, by this machine's clock. */
  async said(words: string): Promise<number> {
    const deadlineMs = performance.now() + giveUpMs;
    while (!this.log.includes(words)) {
      if (performance.now() > deadlineMs || this.process.exitCode !== null) {
        throw new Error(`the agent never said "${words}":\n${this.log.slice(0, 4000)}`);
      }
      await sleep(1);
    }
    return Date.now();
  }

  async close(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const gone = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      await gone;
    }
    unload({ pinPath: this.pinPath, force: true });
    rmdirSync(this.cgroup);
  }
}

type Part = Pick<ClusterStatus, 'applying' | 'programming'> & { readonly probed: Probed };

interface Scale {
  readonly firstMs: number;
  readonly first: Probed;
  readonly served: number;
  readonly churn: readonly Part[];
  readonly relisted: Probed;
}

async function measureScale(directory: string): Promise<Scale> {
  const kubeconfig = join(directory, 'kubeconfig');
  const server = new Server();
  try {
    await server.say(
      { kind: 'fill', services, endpoints, kubeconfig, bookmarkEveryMs: 60_000 },
      'filled',
    );
    const asked = server.hear('asked');
    const agent = new Agent(directory, kubeconfig);
    try {
      const answered = await Promise.race([asked, agent.ended]);
      // What its start took is told elsewhere: from here on it talks with the API server.
      await agent.probe();
      await agent.said('routes are served from');
      const status = await agent.status((now) => now.applying.count >= services);
      const firstMs = Date.now() - (answered.kind === 'asked' ? answered.atMs : 0);
      const first = await agent.probe();
      await sleep(2_000);
      await agent.probe();
      const churn: Part[] = [];
      for (let part = 0; part < parts; part++) {
        await server.say({ kind: 'churn', perSecond, seconds: partSeconds }, 'churned');
        const { applying, programming } = await agent.status(() => true);
        churn.push({ applying, programming, probed: await agent.probe() });
      }
      await server.say({ kind: 'expire' }, 'listed');
      await sleep(2_000);
      const relisted = await agent.probe();
      return { firstMs, first, served: status.routes, churn, relisted };
    } finally {
      await agent.close();
    }
  } finally {
    await server.close();
  }
}

const directory = mkdtempSync(join(tmpdir(), 'nity-bench-scale-'));
try {
  const scale = await measureScale(directory);
  const idle = await idleRequests(directory, quick ? 10 : 60);
  const worst = (of: (part: Part) => number | null) =>
    Math.max(...scale.churn.map((part) => of(part) ?? Number.NaN));
  const line = (what: string, value: number, digits: number, most?: number): Row => [
    what,
    value.toFixed(digits),
    most === undefined ? '' : `≤ ${most}`,
    most === undefined ? '' : value <= most ? 'yes' : 'no',
  ];
  const rows: Row[] = [
    ['', 'measured', 'target', 'met'],
    line('routes served', scale.served, 0),
    line('first full programming, s', scale.firstMs / 1000, 2, 5),
    line('until then: peak RSS, MB', scale.first.peakRssMb, 0, 350),
    line('until then: longest block, ms', scale.first.longestBlockMs, 0, 100),
    line(
      '100 changes/s: event to kernel, p50, ms',
      worst((part) => part.applying.p50Ms),
      0,
    ),
    line(
      '100 changes/s: event to kernel, p99, ms',
      worst((part) => part.applying.p99Ms),
      0,
      400,
    ),
    line(
      '100 changes/s: cause to kernel, p99, ms',
      worst((part) => part.programming.p99Ms),
      0,
      400,
    ),
    line(
      '100 changes/s: longest block, ms',
      worst((part) => part.probed.longestBlockMs),
      0,
      100,
    ),
    ...scale.churn.map((part, i) =>
      line(`100 changes/s: RSS after ${(i + 1) * partSeconds} s, MB`, part.probed.rssMb, 0, 350),
    ),
    line(
      '100 changes/s: share of one CPU, %',
      worst((part) => part.probed.cpuMs / 1e2),
      0,
    ),
    line('a new list of everything: peak RSS, MB', scale.relisted.peakRssMb, 0),
    line('a new list of everything: longest block, ms', scale.relisted.longestBlockMs, 0, 100),
    line('of each, pages of the kernel’s own maps and of Node, MB', scale.relisted.mappedMb, 0),
    line('1,000 idle agents: requests/s', idle.perSecondOfThousand, 1, 10),
  ];
  const text = [
    `${machine()}, load ${loadavg()[0]?.toFixed(1) ?? ''}`,
    `${services} Services, ${services} EndpointSlices of ${endpoints} endpoints`,
    `${idle.agents} idle clients at ${idle.speed} times the speed asked ${idle.requests} times in ${idle.seconds} s`,
    '',
    table(rows),
  ];
  console.log(
    process.argv.includes('--json') ? JSON.stringify({ scale, idle }, null, 1) : text.join('\n'),
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
