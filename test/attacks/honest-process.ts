// Honest clients as a process, since a namespace is one process's: the parent says over IPC which
// service to ask, how often and how long, and is told how often each answer came.
import { ask, atRandomTimes, Tally } from '../servers/client.js';
import { requests } from '../servers/orders.js';
import type { Errand } from './honest.js';

async function run({ id, vip, perSecond, seconds }: Errand): Promise<void> {
  const tally = new Tally();
  await atRandomTimes(perSecond, seconds, async () => {
    tally.add(await ask(vip, requests['answer-and-end']));
  });
  process.send?.({ id, answers: [...tally.answers] });
}

process.on('message', (errand: Errand) => {
  void run(errand);
});
process.on('disconnect', () => process.exit());
