// Plays random histories of a node (test/agent/histories.test.ts) with one seed after
// another, for hours, and prints each seed that fails with the command that shows it. Exits 1
// if there was one.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    for: { type: 'string', default: '2h' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    runs: { type: 'string', default: '5000' },
  },
});
const [, amount, unit] = /^(\d+)(s|m|h)$/.exec(values.for) ?? [];
if (amount === undefined) {
  process.stderr.write('Error: --for takes a time such as 90s, 30m or 2h.\n');
  process.exit(2);
}
const untilMs = Date.now() + Number(amount) * { s: 1000, m: 60_000, h: 3_600_000 }[unit];

let failed = 0;
for (let seed = Number(values.seed); Date.now() < untilMs; seed++) {
  const env = { NITY_PROPERTY_RUNS: values.runs, NITY_PROPERTY_SEED: String(seed) };
  const { status, stdout, stderr } = spawnSync(
    'vitest',
    ['run', 'test/agent/histories.test.ts', '--testTimeout', '3600000'],
    { env: { ...process.env, ...env }, encoding: 'utf8' },
  );
  process.stderr.write(
    `seed ${seed}: ${values.runs} histories, ${status === 0 ? 'ok' : 'failed'}\n`,
  );
  if (status === 0) continue;
  failed++;
  const command = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  process.stdout.write(`${command.join(' ')} npx vitest run test/agent/histories.test.ts\n`);
  process.stdout.write(`${stdout}${stderr}`);
}
process.exitCode = failed === 0 ? 0 : 1;
