// An operator's desk for one test: a pin path, a cgroup, a services file and a place for
// sockets and logs of its own, the built command line, and agents that go when it goes.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { PinRoom } from '../kernel/pin-room.js';
import { until } from '../kernel/rig.js';
import { nityAs, nityUnder, type Outcome } from './shell.js';

export interface RunningAgent {
  readonly child: ChildProcess;
  readonly log: () => string;
}

/**
 * Knobs with which no stall of this machine closes a valve: other tests may write to its disk.
 * A share of time above 1 does not exist.
 */
export const untroubled = ['stallMemory=1', 'stallIo=1'] as const;

const cli = join(import.meta.dirname, '../../bin/run.js');
let desks = 0;

export class Desk {
  readonly name = `nity-test-desk-${process.pid}-${desks++}`;
  private readonly room = new PinRoom(this.name);
  readonly pinPath = this.room.pinPath;
  readonly directory = mkdtempSync(join(tmpdir(), 'nity-desk-'));
  readonly services = join(this.directory, 'services.yaml');
  readonly cgroup = join(cgroupRoot(), this.name);
  /** Words before the command of an agent: a program that runs it in its own circumstances. */
  agentsUnder: readonly string[] = [];
  private readonly agents: ChildProcess[] = [];

  constructor() {
    mkdirSync(this.cgroup);
    this.room.open();
  }

  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      NITY_PIN_PATH: this.pinPath,
      NITY_RUN_DIR: this.directory,
      NITY_AUDIT_LOG: join(this.directory, 'audit.jsonl'),
    };
  }

  /** One service "shop/NAME" for each name, with so many backends that nobody listens at. */
  serve(backends: Readonly<Record<string, number>>): void {
    const services = Object.entries(backends).map(([name, count], i) => ({
      name: `shop/${name}`,
      vip: `127.96.202.${i + 1}`,
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      backends: Array.from({ length: count }, (_, b) => ({
        address: '127.0.0.1',
        port: 30_000 + 100 * i + b,
      })),
    }));
    // JSON is YAML.
    writeFileSync(this.services, JSON.stringify({ services }));
  }

  nity(...args: readonly string[]): Promise<Outcome> {
    return this.nityAs(0, args);
  }

  nityAs(uid: number, args: readonly string[]): Promise<Outcome> {
    return nityAs(uid, args, this.environment);
  }

  nityUnder(words: readonly string[], ...args: readonly string[]): Promise<Outcome> {
    return nityUnder(words, args, this.environment);
  }

  load(): Promise<Outcome> {
    return this.nity('load', '--cgroup', this.cgroup);
  }

  /** A running agent that serves; its log grows in `log()`. */
  async agent(...args: readonly string[]): Promise<RunningAgent> {
    const agent = this.startAgent('--services', this.services, ...args);
    await until(() => {
      if (agent.child.exitCode !== null) throw new Error(`the agent ended:\n${agent.log()}`);
      return /epoch \d+: |routes are served[^]*epoch/.test(agent.log());
    });
    return agent;
  }

  /** One whose routes come from where `args` say; it may not serve for long. */
  startAgent(...args: readonly string[]): RunningAgent {
    const knobs = untroubled.flatMap((knob) => ['--knob', knob]);
    const [program = '', ...words] = [
      ...[...this.agentsUnder, process.execPath, cli, 'run-agent'],
      ...['--cgroup', this.cgroup, ...knobs, ...args],
    ];
    const child = spawn(program, words, {
      env: this.environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.agents.push(child);
    let log = '';
    child.stderr.on('data', (bytes: Buffer) => (log += bytes.toString()));
    return { child, log: () => log };
  }

  async end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  async endAgents(signal: NodeJS.Signals): Promise<void> {
    for (const child of this.agents.splice(0)) await this.end(child, signal);
  }

  /** Everything that load pinned goes; the desk may be laid again. */
  async clear(): Promise<void> {
    await this.endAgents('SIGKILL');
    this.room.clear();
  }

  /** Whatever a test that failed left behind goes too, so that the next one does not meet it. */
  async close(): Promise<void> {
    await this.endAgents('SIGKILL');
    this.room.close();
    await until(() => {
      this.endClients();
      rmdirSync(this.cgroup);
      return true;
    });
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Nobody is in the desk's cgroup but whom a test of the desk put there. */
  private endClients(): void {
    for (const below of readdirSync(this.cgroup, { withFileTypes: true })) {
      if (below.isDirectory()) rmdirSync(join(this.cgroup, below.name));
    }
    const pids = readFileSync(join(this.cgroup, 'cgroup.procs'), 'utf8').split('\n').map(Number);
    for (const pid of pids) if (pid > 0 && pid !== process.pid) process.kill(pid, 'SIGKILL');
  }
}
