// Server software as Debian packages it, as processes of a test's own: at free ports of 127.0.0.1,
// with all that they write in one directory, as the user nobody. Some of them refuse to be root.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { listenOnLastingPort } from '../../../src/lib/demo/lasting-port.js';

const nobody = 65_534;
const patienceMs = 60_000;

/** Where Debian keeps what is not on every user's PATH. */
const path = [process.env['PATH'] ?? '', '/usr/sbin', '/sbin', postgresqlPrograms()].join(':');
const environment = { PATH: path, LC_ALL: 'C' };

function postgresqlPrograms(): string {
  const versions = '/usr/lib/postgresql';
  if (!existsSync(versions)) return versions;
  const newest = readdirSync(versions)
    .sort((a, b) => Number(a) - Number(b))
    .at(-1);
  return join(versions, newest ?? '', 'bin');
}

const programs = ['nginx', 'redis-server', 'memcached', 'postgres', 'initdb', 'mosquitto'];

/** Why there are no real servers here, or undefined. CI counts a skip as a failure. */
export const noSoftware = whyNot();

function whyNot(): string | undefined {
  const missing = programs.filter(
    (name) => spawnSync('which', [name], { env: environment }).status !== 0,
  );
  if (missing.length === 0) return undefined;
  const reason = `these tests are skipped: this machine lacks ${missing.join(', ')}`;
  console.warn(reason);
  return reason;
}

export class Daemons {
  private readonly root = mkdtempSync(join(tmpdir(), 'nity-daemons-'));
  private readonly processes: ChildProcess[] = [];

  constructor() {
    chmodSync(this.root, 0o755);
  }

  /** One that nobody may write to. */
  directory(name: string): string {
    const made = join(this.root, name);
    mkdirSync(made);
    chownSync(made, nobody, nobody);
    return made;
  }

  /** Runs a program to its end. */
  run(program: string, words: readonly string[]): void {
    execFileSync(program, [...words], {
      env: environment,
      uid: nobody,
      gid: nobody,
      cwd: this.root,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }

  /** Returns when something listens at `port`. */
  async start(
    name: string,
    port: number,
    program: string,
    words: readonly string[],
  ): Promise<void> {
    const log = join(this.root, `${name}.log`);
    const output = openSync(log, 'a');
    const child = spawn(program, [...words], {
      env: environment,
      uid: nobody,
      gid: nobody,
      cwd: this.root,
      stdio: ['ignore', output, output],
    });
    this.processes.push(child);
    const deadline = performance.now() + patienceMs;
    while (!(await listens(port))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`${name} does not listen:\n${readFileSync(log, 'utf8')}`);
      }
      await sleep(50);
    }
  }

  async close(): Promise<void> {
    for (const child of this.processes.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      // At once for all of them, and PostgreSQL takes its children with it.
      child.kill(child.spawnfile === 'postgres' ? 'SIGQUIT' : 'SIGTERM');
      await ended;
    }
    rmSync(this.root, { recursive: true, force: true });
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const settle = (does: boolean) => {
      socket.destroy();
      resolve(does);
    };
    socket.on('connect', () => {
      settle(true);
    });
    socket.on('error', () => {
      settle(false);
    });
  });
}

/** Ports that were free a moment ago, and that the kernel lends to no client. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers: Server[] = [];
  const ports: number[] = [];
  for (let i = 0; i < count; i++) {
    const server = createServer();
    ports.push(await listenOnLastingPort(server));
    servers.push(server);
  }
  for (const server of servers) {
    server.close();
    await once(server, 'close');
  }
  return ports;
}
