// The measurements as a table: each figure with the target it has to meet.
import type { ProgramReport } from '../src/lib/dataplane/loading.js';
import type { ConnectRates } from './connects.js';
import type { ProgramCosts, Scaling } from './programs.js';
import type { ProjectionTimes } from './projection.js';
import type { Series } from './statistics.js';

export interface Measurements {
  readonly machine: string;
  readonly settings: Readonly<Record<string, number>>;
  /** Runs of the programs that were timed while rates were measured: 0, or rates are too low. */
  readonly timedDuringRates: number;
  readonly programs: readonly ProgramReport[];
  readonly costs: ProgramCosts;
  readonly scaling: Scaling;
  readonly rates: ConnectRates;
  readonly projection: ProjectionTimes;
}

interface Target {
  readonly text: string;
  readonly met: (median: number) => boolean;
}

export const atMost = (most: number): Target => ({
  text: `≤ ${most}`,
  met: (value) => value <= most,
});
export const atLeast = (least: number): Target => ({
  text: `≥ ${least.toFixed(2)}`,
  met: (value) => value >= least,
});

export type Row = readonly string[];

export const head: Row = ['', 'median', 'quartiles', 'p99', 'rounds', 'target', 'met'];

export function row(what: string, figures: Series, digits: number, target?: Target): Row {
  const { median, lowerQuartile, upperQuartile, p99, rounds } = figures;
  const text = (value: number) => value.toFixed(digits);
  return [
    what,
    text(median),
    `${text(lowerQuartile)} – ${text(upperQuartile)}`,
    text(p99),
    String(rounds.length),
    target?.text ?? '',
    target === undefined ? '' : target.met(median) ? 'yes' : 'no',
  ];
}

/** Markdown, padded so that it also reads as plain text. */
export function table(rows: readonly Row[]): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)));
  const line = (cells: Row) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths?.[i] ?? 0) : cell.padStart(widths?.[i] ?? 0))).join(' | ')} |`;
  const rule = (widths ?? []).map((width, i) =>
    i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  const [first = [], ...rest] = rows;
  return [line(first), line(rule), ...rest.map(line)].join('\n');
}

export function render(measured: Measurements): string {
  const { costs, scaling, rates, projection } = measured;
  return [
    measured.machine,
    '',
    'One run of a program, in ns, the kernel’s timing of it included',
    '',
    table([
      head,
      row('connect4, translated', costs.translated, 0, atMost(1500)),
      row('connect4, untranslated', costs.untranslated, 0, atMost(120)),
      row('an empty program: the timing itself', costs.timing, 0),
      row('connect4, translated, less timing', costs.translatedLessTiming, 0),
      row('connect4, untranslated, less timing', costs.untranslatedLessTiming, 0),
      row('sockops, of a translated connect', costs.sockops, 0),
      row('sock_release, of a translated connect', costs.release, 0),
    ]),
    '',
    'connect4, translated, by the number of routes, in ns',
    '',
    table([
      head,
      row('1 route', scaling.few, 0),
      row('10,000 routes, the same one dialled', scaling.many, 0),
      row('  over 1 route', scaling.ratio, 3, atMost(1.1)),
      row('10,000 routes, all dialled in turn', scaling.spread, 0),
      row('  over 1 route', scaling.spreadRatio, 3),
    ]),
    '',
    'One connect and close, in ns, and ratios of rates (pair by pair)',
    '',
    table([
      head,
      row('service address, through nity', rates.translated, 0),
      row('backend, past nity (untranslated)', rates.direct, 0),
      row('backend, no program attached', rates.bare, 0),
      row('service address, through nftables', rates.nat, 0),
      row('nity / past nity', rates.translatedOverDirect, 3, atLeast(0.95)),
      row('nity / no program', rates.translatedOverBare, 3),
      row('past nity / no program', rates.directOverBare, 3),
      row('nftables / no program', rates.natOverBare, 3),
      row('nity / nftables', rates.translatedOverNat, 3),
    ]),
    '',
    '1,000 routes × 256 slots, every slot changed',
    '',
    table([
      head,
      row('project: write and flip, ms', projection.projectMs, 2, atMost(5)),
      row('setOwners of all routes before it, ms', projection.setOwnersMs, 2),
      row('the flip alone, µs', projection.flipEpochUs, 2, atMost(10)),
      row('an operator’s flip with its checks, µs', projection.flipUs, 2),
    ]),
    '',
    'Instructions the verifier walked',
    '',
    table([
      ['', 'instructions'],
      ...measured.programs.map(({ name, verifiedInstructions }) => [
        name,
        verifiedInstructions.toLocaleString('en'),
      ]),
    ]),
    ...(measured.timedDuringRates === 0
      ? []
      : [
          '',
          'Somebody had the kernel time programs meanwhile: the rates through nity are too low.',
        ]),
  ].join('\n');
}
