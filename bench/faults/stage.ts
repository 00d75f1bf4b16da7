// What trials stand on: the backends' process, clients, cgroups, and an undoing
// of everything in the opposite order, however the bench ends.
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { end, removeCgroup, Undo } from '../undo.js';
import type { BackendOrder, BackendsMessage } from './backends.js';
import type { ClientMessage, ClientOrder, Request, Target } from './client.js';
import { nowMs } from './plan.js';
import type { SlotWatch } from './slots.js';

/** A peer that is ready to be dialled. */
export interface Service {
  readonly vip: string;
  /** Where a client has to be. */
  readonly cgroup: string;
  /** Of peers with slots. */
  readonly slots?: SlotWatch;
  /** Connects to a backend that the peer made anew by itself, unknown to the client. */
  retries?(): Promise<number>;
  /** Throws if what should run does not. */
  requireAlive(): void;
}

const patienceMs = 15_000;
const retryMs = 20;
const hurryNice = -10;

async function next(child: ChildProcess, signal: AbortSignal): Promise<unknown> {
  const ended = new AbortController();
  try {
    const [message] = (await Promise.race([
      once(child, 'message', { signal: AbortSignal.any([signal, ended.signal]) }),
      once(child, 'exit', { signal: AbortSignal.any([signal, ended.signal]) }).then(([code]) => {
        throw new Error(`a process of the bench ended with ${String(code)}`);
      }),
    ])) as [unknown];
    return message;
  } finally {
    ended.abort();
  }
}

/**
 * Who is on the way of a request goes before other work of the machine, so that
 * its noise is not taken for a peer's. The agent is not on the way.
 */
export function hurry({ pid }: ChildProcess): void {
  if (pid !== undefined) setPriority(pid, hurryNice);
}

export function requireRunning(child: ChildProcess, what: string): void {
  if (child.exitCode === null && child.signalCode === null) return;
  throw new Error(`${what} ended by itself with ${String(child.exitCode ?? child.signalCode)}`);
}

export class Stage {
  private readonly undo = new Undo();
  private readonly cgroups = join(cgroupRoot(), `nity-faults-${process.pid}`);
  readonly directory = mkdtempSync(join(tmpdir(), 'nity-faults-'));
  private backends: ChildProcess | undefined;
  ports: readonly number[] = [];

  /** Every wait ends when `signal` says so. */
  constructor(readonly signal: AbortSignal) {
    this.undo.push(() => {
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  async open(): Promise<void> {
    mkdirSync(this.cgroups);
    this.undo.push(() => removeCgroup(this.cgroups));
    this.backends = this.fork('backends', this.undo);
    const message = (await next(this.backends, this.signal)) as BackendsMessage;
    if (message.kind === 'ready') this.ports = message.ports;
  }

  private fork(module: 'backends' | 'client', undo: Undo): ChildProcess {
    const path = fileURLToPath(new URL(`./${module}.ts`, import.meta.url));
    // Ctrl-C reaches the whole foreground group: only the bench decides who ends when.
    const stdio: ('ignore' | 'inherit' | 'ipc')[] = ['ignore', 'ignore', 'inherit', 'ipc'];
    const child = fork(path, { stdio, detached: true });
    undo.push(() => end(child));
    hurry(child);
    return child;
  }

  /** Ends with this process, even if that is killed, and with `undo`. */
  spawn(command: string, args: readonly string[], undo: Undo): ChildProcess {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true,
    });
    undo.push(() => end(child));
    return child;
  }

  cgroup(name: string, undo: Undo): string {
    const path = join(this.cgroups, name);
    mkdirSync(path);
    undo.push(() => removeCgroup(path));
    return path;
  }

  /** When the order was carried out. */
  async order(order: BackendOrder): Promise<number> {
    if (this.backends === undefined) throw new Error('the stage is not open');
    const answer = next(this.backends, this.signal);
    this.backends.send(order);
    const message = (await answer) as BackendsMessage;
    return message.kind === 'obeyed' ? message.atMs : nowMs();
  }

  /** Starts the load at once; the promise that it returns is kept when the last answer is in. */
  async load(
    cgroup: string,
    targets: readonly Target[],
    lengthMs: number,
    undo: Undo,
  ): Promise<() => Promise<readonly Request[]>> {
    const client = this.fork('client', undo);
    await next(client, this.signal);
    writeFileSync(join(cgroup, 'cgroup.procs'), String(client.pid));
    const order: ClientOrder = { targets, lengthMs };
    const done = next(client, this.signal).then((message) => {
      const result = message as ClientMessage;
      return result.kind === 'done' ? result.requests : [];
    });
    // It is waited for later; until then nobody would catch its failure.
    done.catch(() => undefined);
    client.send(order);
    return () => done;
  }

  async until(what: string, met: () => boolean | Promise<boolean>): Promise<void> {
    const deadlineMs = nowMs() + patienceMs;
    while (!(await met())) {
      if (nowMs() > deadlineMs) throw new Error(`waited ${patienceMs} ms for ${what} in vain`);
      await this.pass(retryMs);
    }
  }

  async pass(ms: number): Promise<void> {
    await sleep(Math.max(0, ms), undefined, { signal: this.signal });
  }

  async close(): Promise<void> {
    await this.undo.run();
  }
}
