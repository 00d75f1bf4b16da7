// A replay for a person: what was recorded, whether the law says the same, how each
// route fared over time, and why.
import { milliseconds, percent } from '../agent/words.js';
import { admissionModes, regimes, type AdmissionMode, type Regime } from '../field/states.js';
import type { Verdict, Violation } from '../harness/invariant.js';
import type { Divergence } from '../recorder/compare.js';
import type { ReplayReport } from '../recorder/report.js';
import type { RouteHistory, Timeline } from '../recorder/timeline.js';
import { palette } from './colour.js';
import { counted } from './numbers.js';
import { showDuration } from './duration.js';
import { sparkline } from './sparkline.js';
import { renderTable, type TableOptions } from './table.js';

const routesMost = 8;
const backendsMost = 16;

const shades: Readonly<Record<AdmissionMode | Regime, string>> = {
  normal: '·',
  soft: '▒',
  hard: '█',
  laminar: '·',
  recovery: '░',
  transition: '▒',
  crisis: '█',
};

export function renderReplay(report: ReplayReport, options: TableOptions): string {
  const { bold } = palette('stdout');
  const parts: (string | undefined)[] = [
    headLines(report).join('\n'),
    verdictLines(report).join('\n'),
    section('Invariants', invariantTable(report.replay.verdicts, options)),
    section(
      report.basis === 'other-law' ? 'What this law says otherwise' : 'What it changes',
      contrastTable(report, options),
    ),
    routeParts(report),
    section('Reasons', reasonTable(report, options)),
    section('Missing', missingLines(report).join('\n')),
  ];
  function section(title: string, body: string): string | undefined {
    return body === '' ? undefined : `${bold(title)}\n${body}`;
  }
  return parts.filter((part) => part !== undefined && part !== '').join('\n\n');
}

const at = (ms: number | null) => (ms === null ? 'never' : showDuration(ms));

function headLines({ trace, replay }: ReplayReport): string[] {
  const { header, format } = trace.first;
  const files = trace.files.length === 1 ? '' : `, ${counted(trace.files.length, 'file')}`;
  const runs = replay.runs > 1 ? `, ${replay.runs} runs of the agent` : '';
  return [
    `${trace.path}: format ${format.major}.${format.minor}${files}${runs}`,
    `begun ${new Date(header.wallMs).toISOString()} on ${header.host} by nity ${header.nity} ` +
      `(law ${header.law}, build ${header.build}), Node ${header.node}, kernel ${header.kernel}`,
    `${counted(replay.ticks, 'tick')} from ${at(replay.firstMs)} to ${at(replay.lastMs)}`,
  ];
}

function where({ sequence, atMs, route, backend }: Divergence): string {
  const whose = [route, backend].filter((part) => part !== null).join(' ');
  return `tick ${sequence} at ${at(atMs)}${whose === '' ? '' : `, ${whose}`}`;
}

function verdictLines({ replay, law, knobs, basis }: ReplayReport): string[] {
  const { red, green, yellow } = palette('stdout');
  const { divergences, differences, laws } = replay;
  const lines: string[] = [];
  if (basis === 'other-knobs') {
    const set = Object.entries(knobs).map(([name, value]) => `${name}=${value}`);
    lines.push(
      `Tried with ${set.join(', ')}: ${differences.ticks} of ${counted(differences.of, 'tick')} differ. ` +
        'Signals stay as recorded; only the slots in force follow what is tried.',
    );
  } else if (differences.of > 0) {
    const others = laws.filter((recorded) => recorded !== law).join(', ');
    lines.push(
      yellow(
        differences.ticks === 0
          ? `Recorded under law ${others}, this is law ${law}; on these signals they agree to the bit.`
          : `Not comparable: recorded under law ${others}, this is law ${law}; ${differences.ticks} of ${counted(differences.of, 'tick')} differ, which is no fault.`,
      ),
    );
  }
  if (divergences.first !== null) {
    const { field, expected, got } = divergences.first;
    lines.push(
      red(
        `Diverges in ${counted(divergences.ticks, 'tick')}, first in ${where(divergences.first)}`,
      ),
      `  ${field}: expected ${expected}, got ${got}`,
    );
  } else if (basis === 'same') {
    lines.push(
      green('Identical: every field, every reason and the state of each tick, to the bit.'),
    );
  }
  if (replay.firstViolation !== null) {
    lines.push(red(violationLine(replay.violations, replay.firstViolation)));
  }
  return lines;
}

function violationLine(count: number, first: Violation): string {
  const { invariant, sequence, atMs, route, backend, says } = first;
  const spot = where({ sequence, atMs, route, backend, field: '', expected: '', got: '' });
  return `${counted(count, 'violation')}, first of ${invariant} in ${spot}: ${says}`;
}

function invariantTable(verdicts: readonly Verdict[], options: TableOptions): string {
  if (verdicts.length === 0) return '';
  const { red, green } = palette('stdout');
  const number = (value: number | null) => (value === null ? null : Number(value.toPrecision(4)));
  return renderTable(
    verdicts,
    [
      { head: 'INVARIANT', cell: ({ name }) => name },
      {
        head: 'VERDICT',
        cell: ({ pass, checks }) =>
          checks === 0 ? 'unchecked' : pass ? green('holds') : red('violated'),
      },
      { head: 'CHECKS', align: 'right', cell: ({ checks }) => checks },
      { head: 'WORST', align: 'right', cell: ({ worst }) => number(worst) },
      { head: 'LIMIT', align: 'right', cell: ({ limit }) => number(limit) },
      { head: 'AT', cell: ({ at: spot }) => (spot === null ? null : at(spot.atMs)) },
      { head: 'ROUTE', cell: ({ at: spot }) => spot?.route ?? null },
    ],
    options,
  );
}

function contrastTable({ summary, basis }: ReplayReport, options: TableOptions): string {
  if (basis === 'same') return '';
  const of = (timeline: Timeline, name: string) =>
    timeline.routes.find((route) => route.name === name);
  const change = (name: string, measure: (route: RouteHistory) => string): string => {
    const [then, now] = [of(summary.recorded, name), of(summary.replayed, name)];
    if (then === undefined || now === undefined) return '-';
    return measure(then) === measure(now) ? measure(now) : `${measure(then)} → ${measure(now)}`;
  };
  const shut = ({ modesMs }: RouteHistory) =>
    showDuration((modesMs.get('soft') ?? 0) + (modesMs.get('hard') ?? 0));
  if (summary.contrasts.length === 0) return 'No slot, no mode and no regime.';
  return renderTable(
    summary.contrasts.slice(0, routesMost),
    [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'TICKS', align: 'right', cell: ({ ticks }) => ticks },
      { head: 'FIRST', align: 'right', cell: ({ firstMs }) => at(firstMs) },
      {
        head: 'SLOTS MOVED',
        align: 'right',
        cell: ({ route }) => change(route, ({ slotsMoved }) => String(slotsMoved)),
      },
      { head: 'NOT NORMAL', align: 'right', cell: ({ route }) => change(route, shut) },
      {
        head: 'LARGEST',
        cell: ({ share, backend, shareMs }) =>
          backend === null ? null : `${percent(share)} of the slots, ${backend} at ${at(shareMs)}`,
      },
    ],
    options,
  );
}

/** Routes on which something happened, those on which most did first. */
function routeParts({ summary, basis }: ReplayReport): string {
  const { recorded, replayed } = summary;
  const eventful = (route: RouteHistory) =>
    1000 * (route.modesMs.size + route.regimesMs.size - 2) + route.ticksMoved;
  const ordered = [...replayed.routes].sort((a, b) => eventful(b) - eventful(a));
  const shown = ordered.slice(0, routesMost).filter((route, i) => i === 0 || eventful(route) > 0);
  if (shown.length === 0) return '';
  const parts = shown.map((route) => {
    const then =
      basis === 'same' ? undefined : recorded.routes.find(({ name }) => name === route.name);
    return routeLines(route, then, replayed.width).join('\n');
  });
  const more = ordered.length - shown.length;
  const legend =
    `Each column is ${milliseconds(replayed.columnMs)}. Admission: · normal ▒ soft █ hard. ` +
    'Regime: · laminar ░ recovery ▒ transition █ crisis. Shares: from 0 to the route’s largest.';
  const rest =
    more === 0 ? [] : [`${counted(more, 'route')} more; --route shows one, --json all of them.`];
  return [...parts, [legend, ...rest].join('\n')].join('\n\n');
}

function routeLines(
  route: RouteHistory,
  recorded: RouteHistory | undefined,
  width: number,
): string[] {
  const { bold, dim } = palette('stdout');
  const { backends, slots, slotsMoved, ticksMoved } = route;
  const names = backends.slice(0, backendsMost);
  const wide = Math.max(9, ...names.map(({ length }) => length));
  const line = (name: string, drawn: string, words: string) =>
    `  ${name.padEnd(wide)}  ${drawn.padEnd(width)}  ${words}`;
  const spent = (words: readonly string[], ms: ReadonlyMap<string, number>) =>
    words
      .filter((word) => (ms.get(word) ?? 0) > 0)
      .map((word) => `${word} ${showDuration(ms.get(word) ?? 0)}`)
      .join(', ');
  const drawn = (of: RouteHistory, what: 'mode' | 'regime') =>
    Array.from({ length: width }, (_, i) => {
      const column = of.columns[i];
      return column === undefined ? ' ' : shades[column[what]];
    }).join('');
  const most = Math.max(
    ...[route, ...(recorded === undefined ? [] : [recorded])].flatMap(({ columns }) =>
      columns.flatMap((column) => [...(column?.shares.values() ?? [])]),
    ),
  );
  const shares = (of: RouteHistory, id: string) =>
    Array.from({ length: width }, (_, i) => of.columns[i]?.shares.get(id));
  const both = (draw: (of: RouteHistory, name: string) => string, name: string): string[] =>
    recorded === undefined || draw(recorded, name) === draw(route, name)
      ? [draw(route, name)]
      : [dim(`${draw(recorded, name)}, as recorded`), draw(route, '')];
  const moved =
    slotsMoved === 0 ? 'none moved' : `${slotsMoved} moved in ${counted(ticksMoved, 'tick')}`;
  return [
    `${bold(route.name)}: ${counted(backends.length, 'backend')}, ${slots} slots, ${moved}`,
    ...both(
      (of, name) => line(name, drawn(of, 'mode'), spent(admissionModes, of.modesMs)),
      'admission',
    ),
    ...both((of, name) => line(name, drawn(of, 'regime'), spent(regimes, of.regimesMs)), 'regime'),
    ...names.flatMap((id) =>
      both((of, name) => line(name, sparkline(shares(of, id), most), fromTo(shares(of, id))), id),
    ),
    ...(backends.length > names.length
      ? [`  ${counted(backends.length - names.length, 'backend')} more`]
      : []),
  ];
}

function fromTo(shares: readonly (number | undefined)[]): string {
  const known = shares.filter((share) => share !== undefined);
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined) return '';
  const [from, to] = [percent(first), percent(last)];
  const gone = shares.at(-1) === undefined ? ', gone' : '';
  return `${from === to ? to : `${from} → ${to}`}${gone}`;
}

function reasonTable({ summary, basis }: ReplayReport, options: TableOptions): string {
  if (summary.reasons.length === 0) return 'Nothing changed.';
  return renderTable(
    summary.reasons,
    [
      { head: 'CHANGE', cell: ({ change }) => change },
      { head: 'CAUSE', cell: ({ cause }) => cause },
      { head: 'TIMES', align: 'right', cell: ({ count }) => count },
      ...(basis === 'same'
        ? []
        : [
            {
              head: 'RECORDED',
              align: 'right' as const,
              cell: ({ recorded }: { readonly recorded: number }) => recorded,
            },
          ]),
      { head: 'FIRST', align: 'right', cell: ({ firstMs }) => at(firstMs) },
    ],
    options,
  );
}

function missingLines({ trace, replay }: ReplayReport): string[] {
  const gaps = replay.gaps.map(({ atMs, from, to, ticks, why }) => {
    const which = from === to ? `tick ${from}` : `ticks ${from} to ${to} (${ticks})`;
    return `${which} before ${at(atMs)}: ${why}`;
  });
  const tails = trace.cutTails.map(
    ({ file, offset }) =>
      `the end of ${file}: it stops within a record; its whole ones end at byte ${offset}`,
  );
  return [...gaps, ...tails];
}
