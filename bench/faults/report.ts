// The figures of all peers side by side, each beside the target that Nity has to
// meet, and how the bad backend's share went as a line of bars.
import { table, type Row } from '../report.js';
import { series } from '../statistics.js';
import { peerNames, type PeerName } from './peers.js';
import {
  backendCount,
  fairShare,
  faults,
  requestsPerSecond,
  serviceMs,
  type Breakage,
  type Fault,
} from './plan.js';
import { binMs, type FaultFigures, type LoadFigures } from './timeline.js';
import type { FaultTrial, QuietTrial, Trial } from './trial.js';

export interface Measurements {
  readonly machine: string;
  readonly rounds: number;
  readonly quietMs: number;
  /** The client and the backends with nobody between. */
  readonly floor: LoadFigures & { readonly lateP99Ms: number };
  readonly trials: readonly Trial[];
  /** Trials that could not be completed, and why. */
  readonly failures: readonly string[];
}

interface Column<T> {
  readonly head: string;
  /** Undefined for a peer that has no such figure. */
  readonly of: (trial: T) => number | undefined;
  readonly text: (value: number) => string;
  readonly target?: { readonly text: string; readonly met: (median: number) => boolean };
}

const number = (digits: number) => (value: number) => value.toFixed(digits);
const percent = (value: number) => `${(value * 100).toFixed(2)} %`;
const seconds = (ms: number) => (ms === Infinity ? 'never' : (ms / 1000).toFixed(2));
const atMost = (most: number, text: string) => ({
  text: `≤ ${text}`,
  met: (value: number) => value <= most,
});
const below = (limit: number, text: string) => ({
  text: `< ${text}`,
  met: (value: number) => value < limit,
});

function column(
  head: string,
  figure: keyof FaultFigures,
  text: (value: number) => string,
  target?: Column<FaultTrial>['target'],
): Column<FaultTrial> {
  const of = ({ figures }: FaultTrial) => figures[figure];
  return target === undefined ? { head, of, text } : { head, of, text, target };
}

/** What is asked of each fault; a drip is read as less than one request in a hundred. */
const targets: Readonly<
  Record<Breakage, Partial<Record<keyof FaultFigures, Column<FaultTrial>['target']>>>
> = {
  refuses: { lowAfterMs: atMost(500, '0.50'), lost: atMost(3, '3') },
  slow: { shareFrom2s: below(0.01, '1 %'), faultP99OverHealthy: atMost(2, '2') },
  hung: { lost: atMost(5, '5'), shareFrom3s: below(0.01, '1 %') },
};

function duringColumns(fault: Breakage): readonly Column<FaultTrial>[] {
  const of = targets[fault];
  return [
    column('requests', 'requests', number(0)),
    column('lost', 'lost', number(0), of.lost),
    column('from 0.5 s', 'lostFrom500Ms', number(0)),
    column('< 2 % after, s', 'lowAfterMs', seconds, of.lowAfterMs),
    column('share from 0.5 s', 'shareFrom500Ms', percent),
    column('from 2 s', 'shareFrom2s', percent, of.shareFrom2s),
    column('from 3 s', 'shareFrom3s', percent, of.shareFrom3s),
    column('p99 from 2 s, ms', 'faultP99Ms', number(1)),
    column('over healthy', 'faultP99OverHealthy', number(2), of.faultP99OverHealthy),
  ];
}

const aroundColumns: readonly Column<FaultTrial>[] = [
  column('lost in the second after', 'lostSecondAfter', number(0)),
  column('recovered after, s', 'recoveredAfterMs', seconds, atMost(10_000, '10.00')),
  column('overshoot', 'overshoot', number(2), atMost(1.5, '1.5')),
  column('of others', 'overshootOfOthers', number(2)),
  column('p99 before, ms', 'healthyP99Ms', number(1)),
  {
    head: 'retried by the peer',
    of: ({ retries }) => retries ?? undefined,
    text: number(0),
  },
  column('p50 of all', 'p50Ms', number(1)),
  column('p99 of all', 'p99Ms', number(1)),
];

const quietColumns: readonly Column<QuietTrial>[] = [
  { head: 'requests', of: ({ figures }) => figures.requests, text: number(0) },
  { head: 'lost', of: ({ figures }) => figures.lost, text: number(0) },
  { head: 'p50, ms', of: ({ figures }) => figures.p50Ms, text: number(1) },
  { head: 'p99', of: ({ figures }) => figures.p99Ms, text: number(1) },
  {
    head: 'slots moved a tick',
    of: ({ moves }) => moves?.shareATick,
    text: percent,
    target: atMost(0.005, '0.5 %'),
  },
  { head: 'at once', of: ({ moves }) => moves?.greatestShareAtOnce, text: percent },
  {
    head: 'reversals a minute, worst backend',
    of: ({ moves }) => moves?.reversalsOfTheWorst,
    text: number(0),
    target: atMost(1, '1'),
  },
  { head: 'mean', of: ({ moves }) => moves?.reversalsAMinute, text: number(2) },
];

/** The median over the rounds, with whether it meets its target. */
function cell<T>({ of, text, target }: Column<T>, trials: readonly T[]): string {
  const values = trials.map(of).filter((value) => value !== undefined);
  if (values.length === 0) return '';
  const { median } = series(values);
  if (target === undefined) return text(median);
  return `${text(median)} ${target.met(median) ? '✓' : '✗'}`;
}

function compare<T extends Trial>(columns: readonly Column<T>[], trials: readonly T[]): string {
  const rows = peersOf(trials).map((peer): Row => {
    const own = trials.filter((trial) => trial.peer === peer);
    return [peer, ...columns.map((one) => cell(one, own))];
  });
  return table([
    ['', ...columns.map(({ head }) => head)],
    ['target', ...columns.map(({ target }) => target?.text ?? '')],
    ...rows,
  ]);
}

function peersOf(trials: readonly Trial[]): PeerName[] {
  return peerNames.filter((name) => trials.some(({ peer }) => peer === name));
}

/** As much as the client may be late with its own schedule. */
const lateMsMax = 2;

const bars = '▁▂▃▄▅▆▇█';

/** Twice the fair share fills the cell; a dot is none at all. */
function bar(share: number): string {
  if (!(share > 0)) return '·';
  return bars[Math.min(bars.length - 1, Math.floor((share / fairShare / 2) * bars.length))] ?? '';
}

function sparkline(trials: readonly FaultTrial[], of: 'shares' | 'slotShares'): string {
  const lines = trials.map((trial) => trial[of]).filter((line) => line !== null);
  return (lines[0] ?? [])
    .map((_, i) => bar(lines.reduce((sum, line) => sum + (line[i] ?? 0), 0) / lines.length))
    .join('');
}

function sparklines(trials: readonly FaultTrial[]): string[] {
  const width = Math.max(...peersOf(trials).map((peer) => peer.length)) + ' slots'.length;
  return peersOf(trials).flatMap((peer) => {
    const own = trials.filter((trial) => trial.peer === peer);
    const slots = sparkline(own, 'slotShares');
    return [
      `${peer.padEnd(width)}  ${sparkline(own, 'shares')}`,
      ...(slots === '' ? [] : [`${`${peer} slots`.padEnd(width)}  ${slots}`]),
    ];
  });
}

function section(fault: Fault, all: readonly Trial[]): string[] {
  if (fault === 'quiet') {
    const trials = all.filter((trial) => trial.fault === 'quiet');
    if (trials.length === 0) return [];
    return [
      '',
      'quiet: nothing breaks, service times lognormal',
      '',
      compare(quietColumns, trials),
    ];
  }
  const trials = all.filter((trial): trial is FaultTrial => trial.fault === fault);
  if (trials.length === 0) return [];
  return [
    '',
    `${fault}: during the fault`,
    '',
    compare(duringColumns(fault), trials),
    '',
    `${fault}: after it, and over the whole`,
    '',
    compare(aroundColumns, trials),
    '',
    `The bad backend’s share of the requests, and of the slots, each ${binMs} ms from 2 s before the fault:`,
    '',
    ...sparklines(trials),
  ];
}

/** What the machine did to the measure: these trials' latencies say little of their peer. */
function disturbances(trials: readonly Trial[]): string[] {
  const disturbed = trials.filter((trial) => trial.lateP99Ms > lateMsMax);
  if (disturbed.length === 0) return [];
  const each = disturbed.map(
    ({ fault, peer, round, lateP99Ms }) =>
      `${fault}, ${peer}, round ${round + 1}: ${lateP99Ms.toFixed(1)} ms`,
  );
  return ['', `Disturbed by other work, the client late by over ${lateMsMax} ms (p99):`, ...each];
}

export function render({
  machine,
  rounds,
  quietMs,
  floor,
  trials,
  failures,
}: Measurements): string {
  return [
    machine,
    '',
    `${backendCount} backends of ${serviceMs} ms, ${requestsPerSecond} connections/s, medians of ${rounds} round${rounds === 1 ? '' : 's'}, quiet for ${quietMs / 1000} s.`,
    `With nobody between: p50 ${floor.p50Ms.toFixed(1)} ms, p99 ${floor.p99Ms.toFixed(1)} ms; the client late by ${floor.lateP99Ms.toFixed(1)} ms (p99).`,
    ...faults.flatMap((fault) => section(fault, trials)),
    ...disturbances(trials),
    ...(failures.length === 0 ? [] : ['', 'Not completed:', ...failures]),
  ].join('\n');
}
