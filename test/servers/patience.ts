// Waiting for what takes as long as the machine is busy.
import { setTimeout as sleep } from 'node:timers/promises';

const patienceMs = 60_000;

/** Tries again, for a minute, what is not so yet or throws. */
export async function patiently(what: string, met: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    let cause: unknown;
    try {
      if (met()) return;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`in a minute: not ${what}`, { cause });
    await sleep(20);
  }
}
