// A simulation for people: progress while it runs, and a page of figures at its end.
import { createLogUpdate } from 'log-update';

import type { Progress } from '../harness/compare.js';
import {
  invariantSummaries,
  limitSummaries,
  summaries,
  type LimitSummary,
  type PolicySummary,
  type Spread,
} from '../harness/report/summary.js';
import type { Comparison, RunResult } from '../harness/result.js';
import { palette } from './colour.js';
import { showDuration } from './duration.js';
import { sparkline } from './sparkline.js';
import { bar, renderTable, type TableOptions } from './table.js';

const progressEveryMs = 100;

/** A line on a terminal; elsewhere, one for each tenth of the way. */
export class SimulateProgress {
  private readonly live = process.stderr.isTTY;
  private readonly draw = createLogUpdate(process.stderr);
  private drawnMs = -Infinity;
  private told = 0;

  constructor(private readonly what: string) {}

  show({ policy, seed, done }: Progress): void {
    const part = `${Math.floor(done * 100)} %`.padStart(5);
    if (this.live) {
      if (performance.now() - this.drawnMs < progressEveryMs) return;
      this.drawnMs = performance.now();
      const { cyan, dim } = palette('stderr');
      this.draw(`${cyan(bar(done, 24))}${part}  ${policy} ${dim(`seed ${seed}`)}`);
    } else if (Math.floor(done * 10) > this.told) {
      this.told = Math.floor(done * 10);
      process.stderr.write(`${this.what}: ${part.trim()}, ${policy} seed ${seed}\n`);
    }
  }

  done(): void {
    if (this.live) this.draw.clear();
  }
}

const percent = (value: number) => `${(value * 100).toFixed(2)} %`;
const ms = (value: number) => value.toFixed(value < 100 ? 1 : 0);
const whole = (value: number) => value.toFixed(0);
const figure = (value: number) => String(Number(value.toPrecision(4)));

const median = (pick: (row: PolicySummary) => Spread, show: (value: number) => string) => {
  return (row: PolicySummary) => {
    const { median: value } = pick(row);
    return value === null ? null : show(value);
  };
};

const range = (pick: (row: PolicySummary) => Spread, show: (value: number) => string) => {
  return (row: PolicySummary) => {
    const { least, most } = pick(row);
    return least === null || most === null ? null : `${show(least)}–${show(most)}`;
  };
};

function policyTable(comparison: Comparison, options: TableOptions): string {
  return renderTable(
    summaries(comparison),
    [
      { head: 'POLICY', cell: ({ policy }) => policy },
      { head: 'ANSWERED', align: 'right', cell: median((row) => row.success, percent) },
      { head: 'P50MS', align: 'right', cell: median((row) => row.p50Ms, ms) },
      { head: 'P99MS', align: 'right', cell: median((row) => row.p99Ms, ms) },
      { head: 'P99.9MS', align: 'right', cell: median((row) => row.p999Ms, ms) },
      { head: 'REFUSED', align: 'right', cell: median((row) => row.refused, whole) },
      { head: 'FAILED', align: 'right', cell: median((row) => row.failed, whole) },
      { head: 'TIMEDOUT', align: 'right', cell: median((row) => row.timedOut, whole) },
      { head: 'TURNEDAWAY', align: 'right', cell: median((row) => row.turnedAway, whole) },
      { head: 'P99RANGE', align: 'right', wide: true, cell: range((row) => row.p99Ms, ms) },
      {
        head: 'CONNECTS/S',
        align: 'right',
        wide: true,
        cell: median((row) => row.connectsPerSecond, whole),
      },
    ],
    options,
  );
}

function boundOf({ worst: { atLeast, atMost } }: LimitSummary): string | null {
  if (atLeast !== null) return `≥ ${figure(atLeast)}`;
  return atMost === null ? null : `≤ ${figure(atMost)}`;
}

function limitTable(comparison: Comparison, options: TableOptions): string {
  const { green, red } = palette('stdout');
  return renderTable(
    limitSummaries(comparison, 'nity'),
    [
      { head: 'LIMIT', cell: ({ name }) => name },
      { head: 'BOUND', align: 'right', cell: boundOf },
      {
        head: 'WORST',
        align: 'right',
        cell: ({ worst: { value } }) => (value === null ? null : figure(value)),
      },
      {
        head: 'KEPT',
        cell: ({ missed }) =>
          missed.length === 0 ? green('yes') : red(`no: seed ${missed.join(', ')}`),
      },
    ],
    options,
  );
}

function invariantLines(comparison: Comparison): string {
  const { green, red } = palette('stdout');
  const all = invariantSummaries(comparison);
  const checks = all.reduce((sum, each) => sum + each.checks, 0);
  const broken = all.filter(({ pass }) => !pass);
  if (broken.length === 0) {
    return `${green('All hold')}: ${all.length} invariants, looked at ${checks} times.`;
  }
  return broken
    .map(({ name, first, brokenIn }) => {
      const where = first === null ? '' : `: ${first.says} (at ${showDuration(first.atMs)})`;
      return `${red(name)}, seed ${brokenIn.join(', ')}${where}`;
    })
    .join('\n');
}

const sparkWidth = 60;
const sparksMost = 16;

/** What each backend was sent over time, of the first of our runs. */
function shareLines(run: RunResult, options: TableOptions): string {
  const group = Math.max(1, Math.ceil(run.series.length / sparkWidth));
  const columns = Array.from({ length: Math.ceil(run.series.length / group) }, (_, i) =>
    run.series.slice(i * group, (i + 1) * group),
  );
  const share = (place: number) =>
    columns.map((windows) => {
      const all = windows.flatMap(({ picks }) => picks).reduce((a, b) => a + b, 0);
      const own = windows.reduce((sum, { picks }) => sum + (picks[place] ?? 0), 0);
      return all === 0 ? undefined : own / all;
    });
  const rows = run.backends
    .slice(0, sparksMost)
    .map((name, place) => ({ name, values: share(place) }));
  const most = Math.max(...rows.flatMap(({ values }) => values.map((value) => value ?? 0)));
  return renderTable(
    rows,
    [
      { head: 'BACKEND', cell: ({ name }) => name },
      {
        head: `SHARE OVER ${showDuration(run.durationMs)}`,
        cell: ({ values }) => sparkline(values, most),
      },
    ],
    options,
  );
}

export function renderComparison(comparison: Comparison, options: TableOptions): string {
  const { bold } = palette('stdout');
  const seeds = new Set(comparison.runs.map(({ seed }) => seed)).size;
  const ours = comparison.runs.find(({ policy }) => policy === 'nity');
  const over = seeds === 1 ? '' : `, medians of ${seeds} seeds`;
  return [
    `${bold(comparison.title)}${over}`,
    policyTable(comparison, options),
    ...(ours === undefined
      ? []
      : [
          ...(ours.limits.some(({ binding }) => binding)
            ? [`${bold('Limits')}\n${limitTable(comparison, options)}`]
            : []),
          `${bold('Invariants')}\n${invariantLines(comparison)}`,
          `${bold('Where requests went')}\n${shareLines(ours, options)}`,
        ]),
  ].join('\n\n');
}
