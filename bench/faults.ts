// Breaks one of ten backends and counts what each peer in front of them makes of
// it, on real sockets. Needs root, nftables and Debian's haproxy, which it installs.
//
//   npx tsx bench/faults.ts [--quick] [--json] [--rounds N] [--only PEER,…] [--fault FAULT,…]
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { peerNames } from './faults/peers.js';
import { faults, lengthMs, requestsPerSecond, scheduleOf } from './faults/plan.js';
import { render, type Measurements } from './faults/report.js';
import { Stage } from './faults/stage.js';
import { lateP99Ms, loadFigures } from './faults/timeline.js';
import { runTrial, type Choice, type Trial } from './faults/trial.js';
import { machine } from './machine.js';
import { Undo } from './undo.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const floorMs = 6000;
/** Requests, by whose end both processes have been compiled. */
const floorWarmUp = 2 * requestsPerSecond;
/** What starting and ending a trial takes at most, or the whole is given up. */
const aroundTrialMs = 15_000;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string' },
    fault: { type: 'string' },
  },
});

function chosen<T extends string>(all: readonly T[], text: string | undefined): readonly T[] {
  if (text === undefined) return all;
  return text.split(',').map((word) => {
    const found = all.find((one) => one === word);
    if (found === undefined) throw new Error(`${word} is none of ${all.join(', ')}`);
    return found;
  });
}

const peers = chosen(peerNames, values.only);
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const quietMs = values.quick ? 20_000 : 60_000;
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a number from 1 on');

/** Round by round every fault with every peer, each time beginning with another. */
const choices: readonly Choice[] = Array.from({ length: rounds }, (_, round) =>
  chosen(faults, values.fault).flatMap((fault) =>
    peers.map((_, turn) => {
      const peer = peers[(turn + round) % peers.length] ?? peers[0] ?? 'kernel-random';
      return { peer, fault, round, quietMs };
    }),
  ),
).flat();
const msMax = choices.reduce(
  (sum, { fault }) => sum + lengthMs(scheduleOf(fault, quietMs)) + aroundTrialMs,
  60_000,
);

function installPeers(): void {
  execFileSync('bash', ['-c', 'source scripts/setup.sh && need_packages haproxy nftables'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** The client and the backends with nobody between: what no peer can be better than. */
async function measureFloor(stage: Stage): Promise<Measurements['floor']> {
  const undo = new Undo();
  try {
    await stage.order({ kind: 'serve', noise: 'fixed', seed: 0 });
    const targets = stage.ports.map((port) => ({ host: '127.0.0.1', port }));
    const load = await stage.load(stage.cgroup('floor', undo), targets, floorMs, undo);
    const all = await load();
    const requests = all.slice(floorWarmUp);
    return { ...loadFigures(requests), lateP99Ms: lateP99Ms(requests) };
  } finally {
    await undo.run();
  }
}

async function measure(stage: Stage): Promise<Measurements> {
  await stage.open();
  const floor = await measureFloor(stage);
  const trials: Trial[] = [];
  const failures: string[] = [];
  for (const [i, choice] of choices.entries()) {
    const what = `${choice.fault}, ${choice.peer}, round ${choice.round + 1}`;
    process.stderr.write(`${i + 1} of ${choices.length}: ${what}\n`);
    try {
      trials.push(await runTrial(stage, choice));
    } catch (error) {
      // One peer that breaks down must not cost the figures of all others.
      failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      if (stage.signal.aborted) break;
    }
  }
  return { machine: machine(), rounds, quietMs, floor, trials, failures };
}

installPeers();
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted.abort(new Error(`ended by ${signal}`));
  });
}
const stage = new Stage(AbortSignal.any([interrupted.signal, AbortSignal.timeout(msMax)]));
try {
  const measured = await measure(stage);
  console.log(values.json ? JSON.stringify(measured, null, 1) : render(measured));
  if (measured.failures.length > 0) process.exitCode = 1;
} finally {
  await stage.close();
}
