// nity simulate as people and machines call it: what it prints, what it leaves, how it exits.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { troubled } from '../harness/worlds.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-simulate-'));
const bin = resolve('bin/run.js');
const file = (name: string) => join(directory, name);

function nity(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    cwd: directory,
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { code: status, stdout, stderr };
}

writeFileSync(file('world.yaml'), troubled);
writeFileSync(
  file('failing.yaml'),
  troubled.replace(/limits:[^]*/, 'limits:\n  - { measure: lost, atMost: 0 }\n'),
);

afterAll(() => {
  rmSync(directory, { recursive: true });
});

describe('nity simulate', () => {
  it('shows policies, limits, invariants and shares, and exits 0', () => {
    const { code, stdout, stderr } = nity('simulate', 'world.yaml', '--policy', 'nity,random');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^POLICY +ANSWERED +P50MS/m);
    expect(stdout).toMatch(/^random +9\d\.\d\d %/m);
    expect(stdout).toMatch(/^errors +≤ 0\.01 +0(\.\d+)? +yes$/m);
    expect(stdout).toContain('All hold: 12 invariants');
    expect(stdout).toMatch(/^pod-0 +[▁-█]+$/m);
    expect(stderr).toContain('world: 100 %');
    expect(readdirSync(directory).some((name) => name.endsWith('.trace'))).toBe(false);
  });

  it('has one document for machines, the same for the same seed', () => {
    const document = () => {
      const { stdout } = nity('simulate', 'world.yaml', '--seed', '4', '--seeds', '2', '--json');
      return JSON.parse(stdout) as {
        runs: { digest: string; seed: number }[];
        invariants: { name: string; pass: boolean }[];
      };
    };
    const first = document();
    expect(first).toMatchObject({
      schemaVersion: 1,
      scenario: 'world',
      seed: 4,
      seeds: [4, 5],
      pass: true,
      summary: { nity: { seeds: 2 } },
    });
    expect(first.invariants.map(({ name }) => name)).toContain('no-blackhole');
    const digests = (of: typeof first) => of.runs.map(({ digest }) => digest);
    expect(digests(document())).toEqual(digests(first));
  });

  it('exits 1 where a limit is missed, and leaves a trace that replays to the bit', () => {
    const { code, stdout, stderr } = nity('simulate', 'failing.yaml', '--shrink', 'small.yaml');
    expect(code).toBe(1);
    expect(stdout).toMatch(/requests lost +≤ 0 +\d+ +no: seed 1/);
    expect(stderr).toContain('failing-seed-1.trace');
    const replayed = nity('replay', 'failing-seed-1.trace', '--json');
    expect(replayed.code).toBe(0);
    expect(JSON.parse(replayed.stdout)).toMatchObject({ identical: true });
    // And the smallest that fails alike does fail.
    expect(readFileSync(file('small.yaml'), 'utf8')).toContain('# limit: requests lost');
    expect(nity('simulate', 'small.yaml').code).toBe(1);
  });

  it('writes a report with plots, and the series', () => {
    const { code } = nity(
      'simulate',
      'world.yaml',
      '--policy',
      'all',
      '--report',
      'out',
      '--csv',
      'out/s.csv',
    );
    expect(code).toBe(0);
    const report = readFileSync(file('out/report.md'), 'utf8');
    expect(report).toContain('# A small world with two troubles');
    expect(report).toMatch(/\| peak-ewma \| 9\d\.\d\d %/);
    for (const [, plot = ''] of report.matchAll(/!\[\w+\]\((\S+)\)/g)) {
      expect(readFileSync(file(`out/${plot}`), 'utf8')).toMatch(/^<svg [^>]*>.*<path d="M/s);
    }
    const [head = '', ...rows] = readFileSync(file('out/s.csv'), 'utf8').trimEnd().split('\n');
    expect(head).toMatch(/^scenario,policy,seed,from_ms,to_ms,requests,answered/);
    expect(rows).toHaveLength(8 * 24);
    expect(new Set(rows.map((row) => row.split(',').length))).toEqual(
      new Set([head.split(',').length]),
    );
  });

  it.each([
    ['a file that there is not', ['simulate', 'nowhere.yaml'], /nowhere\.yaml could not be read/],
    [
      'a policy that there is not',
      ['simulate', 'world.yaml', '--policy', 'luck'],
      /no policy luck/,
    ],
    [
      'a place that it cannot write to',
      ['simulate', 'world.yaml', '--csv', 'world.yaml/series.csv'],
      /could not be/,
    ],
  ])('exits 2 for %s', (_what, args, says) => {
    const { code, stderr, stdout } = nity(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(says);
    expect(stdout).toBe('');
  });

  it('names file, line, column and what was expected of a scenario that is wrong', () => {
    writeFileSync(file('wrong.yaml'), troubled.replace('24s', 'soon'));
    const { code, stderr } = nity('simulate', 'wrong.yaml');
    expect(code).toBe(2);
    expect(stderr).toMatch(/wrong\.yaml:4:11: .*expected a duration such as 250ms, 15s or 2m/);
    expect(existsSync(file('wrong-seed-1.trace'))).toBe(false);
  });
});
