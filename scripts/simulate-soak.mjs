// Runs the shipped scenarios with one seed after another, for hours, and prints each
// seed that fails with the command that shows it. Exits 1 if there was one.
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { failuresOf, runSeed } from '../dist/lib/harness/compare.js';
import { readScenario } from '../dist/lib/harness/read-scenario.js';

const { values } = parseArgs({
  options: {
    for: { type: 'string', default: '2h' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    scenarios: { type: 'string', default: 'test/scenarios' },
  },
});
const [, amount, unit] = /^(\d+)(s|m|h)$/.exec(values.for) ?? [];
if (amount === undefined) {
  process.stderr.write('Error: --for takes a time such as 90s, 30m or 2h.\n');
  process.exit(2);
}
const untilMs = Date.now() + Number(amount) * { s: 1000, m: 60_000, h: 3_600_000 }[unit];
const files = readdirSync(values.scenarios).map((file) => `${values.scenarios}/${file}`);

let runs = 0;
let failed = 0;
for (let seed = Number(values.seed); Date.now() < untilMs; seed++) {
  for (const file of files) {
    if (Date.now() >= untilMs) break;
    const ours = runSeed(readScenario(file).scenario, ['nity'], seed).find(
      ({ policy }) => policy === 'nity',
    );
    runs++;
    const failures = ours === undefined ? [] : failuresOf(ours);
    if (failures.length === 0) continue;
    failed++;
    process.stdout.write(`nity simulate ${file} --seed ${seed}  # ${failures.join('; ')}\n`);
  }
  process.stderr.write(`seed ${seed}: ${runs} runs, ${failed} failed\n`);
}
process.exitCode = failed === 0 ? 0 : 1;
