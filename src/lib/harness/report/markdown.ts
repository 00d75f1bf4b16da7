// A comparison as a report that people read: tables in Markdown, and plots beside it.
import type { PolicyName } from '../balancer.js';
import type { Comparison, RunResult } from '../result.js';
import { lines, shares, type Frame, type Series } from './plot.js';
import {
  invariantSummaries,
  limitSummaries,
  reached,
  summaries,
  type LimitSummary,
  type Spread,
} from './summary.js';

/** Its files, by name. */
export type ReportFiles = ReadonlyMap<string, string>;

const percent = (value: number) => `${(value * 100).toFixed(2)} %`;
const ms = (value: number) => (value < 100 ? value.toFixed(1) : value.toFixed(0));
const whole = (value: number) => value.toFixed(0);

function shown({ median, least, most }: Spread, show: (value: number) => string): string {
  if (median === null || least === null || most === null) return '–';
  return least === most ? show(median) : `${show(median)} (${show(least)}–${show(most)})`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function bound({ worst: { atLeast, atMost } }: LimitSummary): string {
  if (atLeast !== null) return `≥ ${Number(atLeast.toPrecision(5))}`;
  return atMost === null ? '–' : `≤ ${Number(atMost.toPrecision(5))}`;
}

function policyTable(comparison: Comparison): string {
  return table(
    [
      'policy',
      'answered',
      'p50 ms',
      'p99 ms',
      'p99.9 ms',
      'refused',
      'failed',
      'timed out',
      'turned away',
    ],
    summaries(comparison).map((summary) => [
      summary.policy,
      shown(summary.success, percent),
      shown(summary.p50Ms, ms),
      shown(summary.p99Ms, ms),
      shown(summary.p999Ms, ms),
      shown(summary.refused, whole),
      shown(summary.failed, whole),
      shown(summary.timedOut, whole),
      shown(summary.turnedAway, whole),
    ]),
  );
}

function limitTable(comparison: Comparison): string {
  return table(
    ['limit', 'bound', 'measured', 'kept'],
    limitSummaries(comparison, 'nity').map((limit) => [
      limit.name,
      bound(limit),
      shown(limit.value, (value) => String(Number(value.toPrecision(5)))),
      limit.missed.length === 0 ? 'yes' : `missed with seed ${limit.missed.join(', ')}`,
    ]),
  );
}

/** What the limits are about, as every policy reached it: medians. */
function reachedTable(comparison: Comparison, policies: readonly PolicyName[]): string {
  const names = comparison.runs[0]?.limits.map(({ name }) => name) ?? [];
  return table(
    ['', ...policies],
    names.map((name) => [
      name,
      ...policies.map((policy) => {
        const { median } = reached(comparison, policy, name);
        return median === null ? '–' : String(Number(median.toPrecision(4)));
      }),
    ]),
  );
}

function invariantTable(comparison: Comparison): string {
  return table(
    ['invariant', 'checks', 'worst', 'limit', 'kept'],
    invariantSummaries(comparison).map(({ name, checks, worst, limit, first, brokenIn }) => [
      name,
      String(checks),
      worst === null ? '–' : String(Number(worst.toPrecision(4))),
      String(Number(limit.toPrecision(4))),
      first === null ? 'yes' : `broken with seed ${brokenIn.join(', ')}: ${first.says}`,
    ]),
  );
}

function frameOf(run: RunResult, title: string, unit: string): Frame {
  return {
    title,
    unit,
    durationMs: run.durationMs,
    timesMs: run.series.map(({ fromMs, toMs }) => (fromMs + toMs) / 2),
    marks: run.marks,
  };
}

function plots(runs: readonly RunResult[]): Map<string, string> {
  const [first] = runs;
  const files = new Map<string, string>();
  if (first === undefined) return files;
  // Ours first: it is drawn in black.
  const sorted = [...runs].sort(
    (a, b) => Number(b.policy === 'nity') - Number(a.policy === 'nity'),
  );
  const byPolicy = (value: (window: RunResult['series'][number]) => number | null): Series[] =>
    sorted.map(({ policy, series }) => ({ name: policy, values: series.map(value) }));
  files.set(
    'latency.svg',
    lines(
      frameOf(first, 'p99 of each window', 'ms'),
      byPolicy(({ p99Ms }) => p99Ms),
      true,
    ),
  );
  const lost = ({ requests, ends: { answered } }: RunResult['series'][number]) =>
    requests === 0 ? null : (1 - answered / requests) * 100;
  files.set(
    'lost.svg',
    lines(frameOf(first, 'Requests that were not answered', '%'), byPolicy(lost), false),
  );
  const ours = sorted.find(({ policy }) => policy === 'nity') ?? first;
  const of = (pick: (window: RunResult['series'][number], i: number) => number): Series[] =>
    ours.backends.map((name, i) => ({
      name,
      values: ours.series.map((window) => pick(window, i)),
    }));
  files.set(
    'shares.svg',
    shares(
      frameOf(ours, `Where requests went: ${ours.policy}`, 'share'),
      of(({ picks }, i) => picks[i] ?? 0),
    ),
  );
  return files;
}

/** `command` is what makes this report again. */
export function reportOf(comparison: Comparison, command: string): ReportFiles {
  const [first] = comparison.runs;
  const drawn = comparison.runs.filter(({ seed }) => seed === first?.seed);
  const files = plots(drawn);
  const seeds = [...new Set(comparison.runs.map(({ seed }) => seed))];
  const policies: readonly PolicyName[] = drawn.map(({ policy }) => policy);
  const text = [
    `# ${comparison.title}`,
    comparison.about.trim(),
    `\`${command}\`: ${policies.length} policies over ${seeds.length === 1 ? `seed ${seeds.join()}` : `${seeds.length} seeds`}. Figures are medians, with the least and the most in brackets; plots are of seed ${first?.seed ?? '–'}.`,
    policyTable(comparison),
    ...(policies.includes('nity')
      ? [
          '## Limits',
          limitTable(comparison),
          '## What each policy reached',
          reachedTable(comparison, policies),
          '## Invariants',
          invariantTable(comparison),
        ]
      : []),
    '## Over time',
    ...[...files.keys()].map((name) => `![${name.replace('.svg', '')}](${name})`),
  ].join('\n\n');
  return new Map([['report.md', `${text}\n`], ...files]);
}
