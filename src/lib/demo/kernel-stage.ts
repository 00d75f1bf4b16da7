// The demo on this machine's kernel: its own cgroup and pin path, real servers,
// a real client, and the agent as an operator would start it.
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

import type { Knobs } from '../config/knobs.js';
import { cgroupRoot } from '../dataplane/cgroup.js';
import { readField } from '../dataplane/control.js';
import { load } from '../dataplane/loader.js';
import { unload } from '../dataplane/unload.js';
import { openPlane } from '../dataplane/pins.js';
import type { Plane } from '../dataplane/plane.js';
import { Snapshot } from '../dataplane/snapshot.js';
import { FoundWrongError, PrivilegeError } from '../errors.js';
import type { BackendsMessage } from './backends.js';
import type { ClientResult } from './client.js';
import {
  demoPort,
  demoRoute,
  demoVip,
  type Behaviour,
  type Connect,
  type Now,
  type Stage,
} from './stage.js';

const cli = fileURLToPath(new URL('../../../bin/run.js', import.meta.url));
const patienceMs = 10_000;

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new PrivilegeError(
    'The demo loads programs into the kernel and makes a cgroup, which needs root.',
    'Run it with sudo, or watch the same story on the model with `nity demo --model`.',
  );
}

async function until(what: string, met: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!met()) {
    if (performance.now() > deadline) {
      throw new FoundWrongError(
        `The demo waited ${patienceMs / 1000} s for ${what} in vain.`,
        'Run it again with DEBUG=1; on a very busy machine it can be too slow.',
      );
    }
    await sleep(20);
  }
}

/** Everything it makes is undone by close(), in the opposite order. */
export class KernelStage implements Stage {
  readonly plane = 'kernel';
  private readonly undo: (() => void | Promise<void>)[] = [];
  private readonly startMs = Number(process.hrtime.bigint()) / 1e6;
  private readonly pinPath = `/sys/fs/bpf/nity-demo-${process.pid}`;
  private connects: Connect[] = [];
  private backends: ChildProcess | undefined;
  private agent: ChildProcess | undefined;
  private services = '';
  private dataplane: Plane | undefined;

  private constructor(
    readonly names: readonly string[],
    private readonly knobs: Knobs,
  ) {}

  static async set(names: readonly string[], knobs: Knobs): Promise<KernelStage> {
    requireRoot();
    const stage = new KernelStage(names, knobs);
    try {
      await stage.build();
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  private async build(): Promise<void> {
    const cgroup = join(cgroupRoot(), `nity-demo-${process.pid}`);
    mkdirSync(cgroup);
    // A cgroup is busy until the last of its processes has been reaped.
    this.undo.push(() => until('its cgroup to empty', () => removed(cgroup)));
    load({
      pinPath: this.pinPath,
      cgroup,
      knobs: this.knobs,
      sizes: { backends: 1024, routes: 1024, slots: 65_536 },
    });
    this.undo.push(() => void unload({ pinPath: this.pinPath, force: true }));
    this.dataplane = openPlane(this.pinPath);
    const plane = this.dataplane;
    this.undo.push(() => {
      plane.close();
    });
    const ports = await this.startBackends();
    const directory = mkdtempSync(join(tmpdir(), 'nity-demo-'));
    this.undo.push(() => {
      rmSync(directory, { recursive: true, force: true });
    });
    this.services = join(directory, 'services.yaml');
    writeFileSync(this.services, servicesFile(ports));
    await this.startAgent();
    this.undo.push(() => this.killAgent());
    await this.startClient(cgroup);
  }

  private fork(module: string, args: readonly string[]): ChildProcess {
    const path = fileURLToPath(new URL(`./${module}.js`, import.meta.url));
    // Ctrl-C reaches the whole foreground group: only the story decides who ends when.
    const child = fork(path, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      detached: true,
    });
    this.undo.push(() => end(child));
    return child;
  }

  private async startBackends(): Promise<readonly number[]> {
    this.backends = this.fork('backends', this.names);
    const [message] = (await once(this.backends, 'message')) as [BackendsMessage];
    return message.kind === 'ready' ? message.ports : [];
  }

  private async startClient(cgroup: string): Promise<void> {
    const client = this.fork('client', []);
    await once(client, 'message');
    writeFileSync(join(cgroup, 'cgroup.procs'), String(client.pid));
    client.on('message', (results: ClientResult[]) => {
      for (const result of results) {
        this.connects.push({ ...result, atMs: result.atMs - this.startMs });
      }
    });
    client.send('go');
  }

  async behave(backend: number, behaviour: Behaviour): Promise<void> {
    this.backends?.send({ backend, behaviour });
    if (this.backends !== undefined) await once(this.backends, 'message');
  }

  async startAgent(): Promise<void> {
    const knobs = Object.entries(this.knobs).flatMap(([name, value]) => [
      '--knob',
      `${name}=${value}`,
    ]);
    this.agent = spawn(
      process.execPath,
      [
        cli,
        'run-agent',
        '--pin-path',
        this.pinPath,
        '--services',
        this.services,
        '--log-level',
        'warn',
        '--no-record',
        ...knobs,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'], detached: true },
    );
    const { pid } = this.agent;
    await until('an agent to project its first field', () => {
      const field = readField(this.require());
      return field.agentPid === pid && field.failsafeMode === 'normal' && field.epoch > 2n;
    });
  }

  async killAgent(): Promise<void> {
    if (this.agent !== undefined) await end(this.agent);
    this.agent = undefined;
  }

  private require(): Plane {
    if (this.dataplane === undefined) throw new Error('the stage has not been built');
    return this.dataplane;
  }

  now(): Now {
    const plane = this.require();
    const field = readField(plane);
    const views = new Snapshot(plane, field.activeTable === 'A' ? 0 : 1).backends();
    return {
      atMs: Number(process.hrtime.bigint()) / 1e6 - this.startMs,
      epoch: field.epoch,
      failsafeMode: field.failsafeMode,
      heartbeatAgeMs: field.heartbeatAgeMs,
      backends: this.names.map((name, i) => {
        const view = views[i];
        return {
          name,
          slots: view?.slots ?? 0,
          state: view?.state ?? 'missing',
          open: view?.open ?? 0,
        };
      }),
    };
  }

  async pass(ms: number): Promise<Connect[]> {
    await sleep(ms);
    return this.connects.splice(0);
  }

  async close(): Promise<void> {
    for (let step = this.undo.pop(); step !== undefined; step = this.undo.pop()) await step();
  }
}

function servicesFile(ports: readonly number[]): string {
  const [name, port] = demoRoute.split(':');
  return stringify({
    services: [
      {
        name,
        vip: demoVip,
        ports: [{ name: port, port: demoPort, protocol: 'TCP' }],
        backends: ports.map((number) => ({ address: '127.0.0.1', port: number })),
      },
    ],
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function removed(cgroup: string): boolean {
  try {
    rmdirSync(cgroup);
    return true;
  } catch {
    return false;
  }
}
