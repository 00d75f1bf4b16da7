// One route looked into: its backends with their slots as bars, what the agent holds
// of it, and its own last changes.
import {
  describeBriefly,
  describeCause,
  describeReason,
  milliseconds,
  percent,
} from '../../agent/words.js';
import { showDuration } from '../duration.js';
import { bar } from '../table.js';
import { fitted, rule, span, type Line } from './ink.js';
import { count, latency } from '../numbers.js';
import type { BackendRow, RouteRow, TopFrame } from './frame.js';
import { inkOfState } from './paint-routes.js';

interface Room {
  readonly columns: number;
  readonly rows: number;
}

const mostChanges = 8;
const widestBar = 40;
const cells = [
  { head: 'STATE', width: 10, right: false },
  { head: 'SLOTS', width: 5, right: true },
  { head: 'RATE/s', width: 6, right: true },
  { head: 'FAIL/s', width: 6, right: true },
  { head: 'OPEN', width: 5, right: true },
  { head: 'P50', width: 5, right: true },
  { head: 'P95', width: 5, right: true },
  { head: 'PRESS', width: 5, right: true },
] as const;
const nameWidth = 21;

const gravity = { isolated: 0, degraded: 1, healthy: 2, retired: 3 } as const;

/** The unwell first, else in their own order: a row that stays in its place can be watched. */
function inOrder(backends: readonly BackendRow[]): BackendRow[] {
  return [...backends].sort((a, b) => gravity[a.state] - gravity[b.state]);
}

export function paintRoute(
  whole: TopFrame,
  name: string,
  { columns, rows }: Room,
  scroll: number,
): Line[] {
  // After a step to the next route the agent was asked of the last one still.
  const explained = whole.explained?.name === name ? whole.explained : null;
  const frame = { ...whole, explained };
  const row = frame.routes.find(({ route }) => route === name);
  if (row === undefined) return [[], [span(`  ${name} is served no more`, 'yellow')]];
  const changes = changesOf(frame, name, columns);
  const below = Math.min(changes.length, mostChanges, Math.max(0, Math.floor(rows / 3)));
  const room = Math.max(1, rows - 5 - below);
  const backends = inOrder(row.backends);
  const most = Math.max(0, ...backends.map(({ slots }) => slots));
  const first = Math.max(0, Math.min(scroll, backends.length - room + 1));
  const fit = backends.length > room ? Math.max(1, room - 1) : room;
  const shown = backends.slice(first, first + fit);
  const hidden = backends.length - shown.length;
  return [
    title(frame, row),
    valveLine(frame),
    backendHead(columns),
    ...shown.map((backend) => backendLine(frame, most, backend, columns)),
    ...(hidden === 0
      ? []
      : [[span(`  ${first + 1} to ${first + shown.length} of ${backends.length}`, 'dim')]]),
    [],
    rule('changes of this route', columns),
    ...changes.slice(0, below),
  ];
}

function title({ explained }: TopFrame, row: RouteRow): Line {
  const { route, mode, overrideLeftMs, gear, slots, enforcedPercent } = row;
  const override =
    overrideLeftMs === null ? '' : ` by an operator for ${showDuration(overrideLeftMs)}`;
  return [
    span(route, 'bold'),
    span(`  ${mode}${override}`, mode === 'normal' ? 'plain' : 'yellow'),
    span(`  gear ${gear}  ${slots} slots`),
    span(explained === null ? '' : `  regime ${explained.regime}`),
    ...(enforcedPercent === 100
      ? []
      : [
          span(
            `  ${enforcedPercent === 0 ? 'only observed' : `${enforcedPercent}% enforced`}`,
            'cyan',
          ),
        ]),
  ];
}

function valveLine({ agent, explained }: TopFrame): Line {
  if (agent === null) return [span('no agent answers: pressure and reasons are its own', 'dim')];
  if (explained === null) return [span('the agent is asked', 'dim')];
  const { valve, motion, conductance } = explained;
  const why = valve.cause === null ? '' : ` (${describeCause(valve.cause)})`;
  const budget =
    valve.budgetPerSecond === null ? '' : `, admits ${valve.budgetPerSecond.toFixed(0)}/s`;
  const normal =
    explained.referenceUs === null
      ? ''
      : `  normal latency ${milliseconds(explained.referenceUs / 1000)}`;
  return [
    span(`valve ${explained.observed === null ? '' : 'would be '}${valve.mode}${why}${budget}`),
    span(`  conductance ${conductance.toFixed(2)}  skew ${percent(motion.skew)}${normal}`),
  ];
}

function barWidth(columns: number): number {
  const fixed = 2 + nameWidth + cells.reduce((sum, { width }) => sum + width + 1, 0) + 1;
  return Math.max(0, Math.min(widestBar, columns - fixed));
}

/** A terminal too narrow for bars beside the numbers does without them. */
function backendHead(columns: number): Line {
  return [
    span(`  ${fitted('BACKEND', nameWidth)}`, 'bold'),
    ...cells.flatMap(({ head, width, right }) => [
      span(' '),
      span(fitted(head, width, right ? 'right' : 'left'), 'bold'),
    ]),
    span(barWidth(columns) >= 5 ? ' OF THE MOST' : '', 'bold'),
  ];
}

/** "!" for every client, "?" for one alone. */
function suspicion({ suspect, suspectForOne }: BackendRow): string {
  if (suspect) return '!';
  return suspectForOne ? '?' : '';
}

function backendLine(
  { explained }: TopFrame,
  most: number,
  backend: BackendRow,
  columns: number,
): Line {
  const pressure = explained?.backends.find(({ id }) => id === backend.backend)?.pressure.total;
  const values = [
    `${backend.state}${suspicion(backend)}`,
    String(backend.slots),
    count(backend.picksPerSecond),
    count(backend.failedPerSecond),
    count(backend.open),
    latency(backend.p50Us),
    latency(backend.p95Us),
    pressure === undefined ? '-' : pressure.toFixed(2),
  ];
  const ink = inkOfState(backend.state);
  const width = barWidth(columns);
  return [
    span(`  ${fitted(backend.backend, nameWidth)}`),
    ...cells.flatMap((cell, i) => [
      span(' '),
      span(
        fitted(values[i] ?? '', cell.width, cell.right ? 'right' : 'left'),
        i === 0 && backend.state !== 'healthy' ? ink : 'plain',
      ),
    ]),
    span(' '),
    span(most === 0 || width < 5 ? '' : bar(backend.slots / most, width).trimEnd(), ink),
  ];
}

function changesOf({ explained, changes }: TopFrame, name: string, columns: number): Line[] {
  const describe = columns < 100 ? describeBriefly : describeReason;
  const own =
    explained?.reasons ??
    changes.filter(({ change }) => 'route' in change && change.route === name);
  return own.map((reason) => [
    span(`${showDuration(reason.agoMs).padStart(7)}  `, 'dim'),
    span(describe(reason)),
  ]);
}
