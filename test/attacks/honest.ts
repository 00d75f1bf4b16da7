// The process with the honest clients, and what a test asks of it.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import { Tally } from '../servers/client.js';

export interface Errand {
  readonly id: number;
  readonly vip: string;
  readonly perSecond: number;
  readonly seconds: number;
}

interface Done {
  readonly id: number;
  readonly answers: readonly (readonly [string, number])[];
}

export class HonestClients {
  private readonly process: ChildProcess;
  private readonly waiting = new Map<number, (tally: Tally) => void>();
  private nextId = 0;

  /** @param within a command that runs another one, such as in a network namespace */
  constructor(within: readonly string[]) {
    const file = join(import.meta.dirname, 'honest-process.ts');
    this.process = spawn('env', [...within, process.execPath, '--import', 'tsx', file], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.process.on('message', ({ id, answers }: Done) => {
      this.waiting.get(id)?.(new Tally(answers));
      this.waiting.delete(id);
    });
  }

  ask(vip: string, perSecond: number, seconds: number): Promise<Tally> {
    const id = this.nextId++;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      this.process.send({ id, vip, perSecond, seconds });
    });
  }

  async close(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }
}
