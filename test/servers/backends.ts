// The process with a test's backends, and what the test asks of it.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import type { Obeyed, Order } from './orders.js';

export interface Endpoint {
  readonly name: string;
  readonly port: number;
}

export class Backends {
  private readonly process: ChildProcess;
  private turn: Promise<unknown> = Promise.resolve();

  /** @param within a command that runs another one, such as in a network namespace */
  constructor(within: readonly string[] = []) {
    const file = join(import.meta.dirname, 'backend-process.ts');
    this.process = spawn('env', [...within, process.execPath, '--import', 'tsx', file], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
  }

  /** Asks for all of it in order, one call after the other. */
  order(orders: readonly Order[]): Promise<readonly Obeyed[]> {
    const answer = this.turn.then(async () => {
      const told = once(this.process, 'message');
      this.process.send([...orders]);
      const [obeyed] = (await told) as [readonly Obeyed[]];
      return obeyed;
    });
    this.turn = answer;
    return answer;
  }

  /** At their ports, or at free ones where the port is 0. */
  async listen(wanted: readonly Endpoint[]): Promise<readonly Endpoint[]> {
    const obeyed = await this.order(wanted.map((one) => ({ kind: 'listen', ...one })));
    return wanted.map(({ name }, i) => ({ name, port: obeyed[i]?.port ?? 0 }));
  }

  async close(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }
}
