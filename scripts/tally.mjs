// Counts what bin/test ran and prints the last line: N passed, N failed, N skipped.
//
//   tally.mjs VITEST_JSON VITEST_STATUS C_TESTS_LOG [FAILED_CHECK...]
//
// The count never says "0 failed" of a run that failed: a suite that ended badly
// without a failed test, and each failed check, counts as one failure. In CI a
// skipped test is a failure.
import { readFileSync } from 'node:fs';

const [vitestJson, vitestStatus, tapLog, ...failedChecks] = process.argv.slice(2);
const tapStatus = failedChecks.includes('c-tests') ? '1' : '0';

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** A runner that failed, or proved nothing, without naming a test that failed. */
function withSilentFailure(name, tests, status) {
  const silent = status !== '0' && !tests.some((test) => test.outcome === 'failed');
  if (!silent && tests.length > 0) return tests;
  const what = silent ? `ended with status ${status}, though no test failed` : 'ran no test';
  return [...tests, { name: `${name}: ${what}`, outcome: 'failed' }];
}

function vitestTests() {
  const text = read(vitestJson);
  const files = text === '' ? [] : JSON.parse(text).testResults;
  const outcomes = { passed: 'passed', failed: 'failed' };
  return files.flatMap((file) => {
    const tests = file.assertionResults.map((test) => ({
      name: `${file.name.replace(`${process.cwd()}/`, '')}: ${test.fullName}`,
      outcome: outcomes[test.status] ?? 'skipped',
    }));
    const unread = file.status === 'failed' && !tests.some((test) => test.outcome === 'failed');
    return unread
      ? [...tests, { name: `${file.name}: ${file.message}`, outcome: 'failed' }]
      : tests;
  });
}

/** TAP of any number of programs, one after the other; a plan that is not met is a failure. */
function tapTests() {
  const lines = read(tapLog).split('\n');
  const tests = lines.flatMap((line) => {
    const [, not, name] = /^(not )?ok\b\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) return [];
    const outcome = /#\s*skip/i.test(name) ? 'skipped' : not ? 'failed' : 'passed';
    return [{ name: `bpf: ${name}`, outcome }];
  });
  const planned = lines.reduce((sum, line) => sum + Number(/^1\.\.(\d+)/.exec(line)?.[1] ?? 0), 0);
  const missing = planned - tests.length;
  if (missing <= 0) return tests;
  return [...tests, { name: `bpf: ${missing} planned tests did not run`, outcome: 'failed' }];
}

const ci = process.env.CI === 'true';
const tests = [
  ...withSilentFailure('vitest', vitestTests(), vitestStatus),
  ...withSilentFailure('c-tests', tapTests(), tapStatus),
  ...failedChecks
    .filter((name) => name !== 'c-tests')
    .map((name) => ({ name: `check: ${name}`, outcome: 'failed' })),
].map((test) =>
  ci && test.outcome === 'skipped'
    ? { name: `${test.name} (skipped, which CI does not allow)`, outcome: 'failed' }
    : test,
);

const of = (outcome) => tests.filter((test) => test.outcome === outcome);
for (const outcome of ['skipped', 'failed']) {
  for (const { name } of of(outcome)) console.log(`${outcome}: ${name}`);
}
console.log(
  `${of('passed').length} passed, ${of('failed').length} failed, ${of('skipped').length} skipped`,
);
process.exit(of('failed').length === 0 ? 0 : 1);
