// What a bench has made goes again, in the opposite order, however the bench ends.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const retryMs = 20;

export class Undo {
  private readonly steps: (() => void | Promise<void>)[] = [];

  push(step: () => void | Promise<void>): void {
    this.steps.push(step);
  }

  async run(): Promise<void> {
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) {
      try {
        await step();
      } catch (error) {
        // The rest must be undone all the same.
        console.error(error);
      }
    }
  }
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** A cgroup is busy until the last of its processes has been reaped. */
export async function removeCgroup(path: string): Promise<void> {
  for (let tries = 100; ; tries--) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (tries === 0) throw error;
      await sleep(retryMs);
    }
  }
}
