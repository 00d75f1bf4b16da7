// A frame and a view as lines of a terminal of a given size. Pure: the same frame is
// painted the same, and golden tests hold it to that.
import { describeBriefly, describeReason, milliseconds, percent } from '../../agent/words.js';
import type { DatedReason } from '../../agent/report.js';
import { stallResources } from '../../field/signals.js';
import { showDuration } from '../duration.js';
import { fitted, rule, span, type Ink, type Line, type Span } from './ink.js';
import { count, counted } from '../numbers.js';
import { paintRoute } from './paint-route.js';
import { paintRoutes, routesHead } from './paint-routes.js';
import type { TopFrame } from './frame.js';
import { selectedAt, shownRoutes, type View } from './view.js';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

const headLines = 3;
/** The head of the table, the head of the changes, the keys. */
const fixedLines = headLines + 3;
const mostChanges = 12;

/** How many routes fit beside the head, the changes and the keys. */
export function routesThatFit({ rows }: Size): number {
  return Math.max(1, rows - fixedLines - changesThatFit(rows));
}

function changesThatFit(rows: number): number {
  return Math.max(0, Math.min(mostChanges, Math.floor((rows - fixedLines) / 4)));
}

/** Exactly as many lines as the terminal has rows. */
export function paint(frame: TopFrame, view: View, size: Size): Line[] {
  const { columns, rows } = size;
  const shown = shownRoutes(frame, view);
  const body = view.help
    ? helpLines
    : view.route === null
      ? overview(frame, view, size)
      : paintRoute(frame, view.route, { columns, rows: rows - headLines - 1 }, view.scroll);
  const room = Math.max(0, rows - headLines - 1);
  const lines = [...head(frame, view), ...filled(body, room), keys(view, shown.length)];
  return lines.slice(-rows);
}

/** One picture for a file or a pipe, as long as it has to be: no keys. */
export function paintOnce(frame: TopFrame, view: View, columns: number): Line[] {
  if (view.route !== null) {
    return [...head(frame, view), ...paintRoute(frame, view.route, { columns, rows: Infinity }, 0)];
  }
  const shown = shownRoutes(frame, view);
  return [
    ...head(frame, view),
    routesHead(frame, view, columns),
    ...paintRoutes(frame, shown, null, columns),
    ...(frame.changes.length === 0
      ? []
      : [rule('changes', columns), ...changeLines(frame, mostChanges, columns)]),
  ];
}

function filled(lines: readonly Line[], room: number): Line[] {
  return Array.from({ length: room }, (_, i) => lines[i] ?? []);
}

function overview(frame: TopFrame, view: View, size: Size): Line[] {
  const shown = shownRoutes(frame, view);
  const fit = routesThatFit(size);
  const at = selectedAt(shown, view);
  const first = Math.max(0, Math.min(at - Math.floor(fit / 2), shown.length - fit));
  const window = shown.slice(first, first + fit);
  const none: Line[] =
    shown.length > 0
      ? []
      : [
          [
            span(
              view.filter === '' ? '  no route is served' : '  no route has that in its name',
              'dim',
            ),
          ],
        ];
  const rows = filled([...paintRoutes(frame, window, at - first, size.columns), ...none], fit);
  return [
    routesHead(frame, view, size.columns),
    ...rows,
    rule('changes', size.columns),
    ...changesOr(frame, changesThatFit(size.rows), size.columns),
  ];
}

function changesOr(frame: TopFrame, most: number, columns: number): Line[] {
  if (frame.changes.length > 0) return changeLines(frame, most, columns);
  const why = frame.agent === null ? 'no agent answers: nobody gives reasons' : 'none of late';
  return [[span(`  ${why}`, 'dim')]];
}

/** From this width on there is room for the numbers that made a change. */
const wideColumns = 130;

/** Changes of routes that are not enforced whole say so: not all of them was done. */
function notWhole(routes: TopFrame['routes']): ReadonlyMap<string, string> {
  const marked = routes.filter(({ enforcedPercent }) => enforcedPercent < 100);
  return new Map(
    marked.map(({ route, enforcedPercent }) => [
      route,
      enforcedPercent === 0 ? 'observed: ' : `${enforcedPercent}%: `,
    ]),
  );
}

function changeLines({ routes, changes }: TopFrame, most: number, columns: number): Line[] {
  const marks = notWhole(routes);
  const describe = columns < wideColumns ? describeBriefly : describeReason;
  return changes.slice(0, most).map((change) => {
    const { change: what } = change;
    const route = 'route' in what ? what.route : 'node';
    return [
      span(`${showDuration(change.agoMs).padStart(7)}  `, 'dim'),
      span(fitted(route, columns < wideColumns ? 20 : 32)),
      span('  '),
      span(`${marks.get(route) ?? ''}${describe(change)}`, inkOfChange(change)),
    ];
  });
}

function inkOfChange({ change, cause }: DatedReason): Ink {
  if (change.of === 'admission') return change.to === 'normal' ? 'green' : 'yellow';
  if (change.of === 'regime') return change.to === 'crisis' ? 'red' : 'plain';
  return cause.kind === 'isolation' || cause.kind === 'systemic' ? 'red' : 'plain';
}

function gap(): Span {
  return span('  ');
}

function head(frame: TopFrame, view: View): Line[] {
  const { routes } = frame;
  const total = (of: (row: (typeof routes)[number]) => number) =>
    routes.reduce((sum, row) => sum + of(row), 0);
  const refused = total(({ refusedPerSecond }) => refusedPerSecond);
  return [
    [
      span('nity top', 'bold'),
      span(`  ${frame.host}  ${counted(routes.length, 'route')}  `),
      span(
        `${counted(
          total(({ backendCount }) => backendCount),
          'backend',
        )}  `,
      ),
      span(`${count(total(({ picksPerSecond }) => picksPerSecond))}/s picked  `),
      span(`${count(refused)}/s refused  `, refused > 0 ? 'yellow' : 'plain'),
      span(`${count(total(({ open }) => open))} open`),
      ...(view.frozen ? [gap(), span('FROZEN', 'yellow')] : []),
    ],
    fieldLine(frame),
    nodeLine(frame),
  ];
}

function fieldLine({ agent, field, regime }: TopFrame): Line {
  const { failsafeMode, heartbeatAgeMs, epoch, heldEpoch, activeTable } = field;
  const inForce = failsafeMode === 'normal' ? epoch : heldEpoch;
  const age = heartbeatAgeMs === null ? 'never' : `${showDuration(heartbeatAgeMs)} ago`;
  const who =
    agent === null
      ? span(`no agent answers, last seen ${age}`, 'red')
      : span(`agent ${agent.pid}, seen ${age}`);
  const held =
    field.projectionHeldMs === 0
      ? []
      : [gap(), span(`held for ${showDuration(field.projectionHeldMs)}`, 'yellow')];
  return [
    who,
    gap(),
    failsafeMode === 'normal'
      ? span('failsafe normal')
      : span(`failsafe ${failsafeMode.toUpperCase()}`, 'yellow'),
    gap(),
    span(`epoch ${inForce} in ${activeTable}`),
    // Nobody judges while there is no agent.
    ...(agent === null
      ? []
      : [gap(), span(`regime ${regime ?? '-'}`, regime === 'crisis' ? 'red' : 'plain')]),
    ...held,
  ];
}

function nodeLine({ stalls, agent }: TopFrame): Line {
  const psi = stallResources.map((resource) => {
    const reading = stalls?.[resource];
    return `${resource} ${reading?.kind === 'read' ? percent(reading.value.some).replace(' ', '') : '-'}`;
  });
  const node = agent?.node;
  const exhaustion = node?.exhaustion ?? null;
  const ttf =
    exhaustion === null
      ? 'ttf -'
      : `ttf ${milliseconds(exhaustion.ttfMs)} (${exhaustion.resource} ${percent(exhaustion.used / exhaustion.limit).replace(' ', '')} used)`;
  return [
    span(`psi ${psi.join(' ')}`),
    gap(),
    span(
      node === undefined ? 'stalls -' : `stalls ${node.stalledTicks}`,
      node?.stalledNow === true ? 'yellow' : 'plain',
    ),
    gap(),
    span(ttf, exhaustion !== null && exhaustion.ttfMs < 120_000 ? 'yellow' : 'plain'),
  ];
}

function keys(view: View, shown: number): Line {
  if (view.typing) return [span('filter: ', 'bold'), span(`${view.filter}_`)];
  const filter = view.filter === '' ? '' : `  filter "${view.filter}" (${shown})`;
  const rest =
    view.route === null
      ? '↑↓ enter look into  / filter  s sort  r reverse  space freeze  ? help  q quit'
      : '↑↓ next route  pageup pagedown backends  esc back  space freeze  ? help';
  return [span(fitted(rest, rest.length), 'dim'), span(filter, 'cyan')];
}

const helpLines: Line[] = [
  [],
  ...(
    [
      ['↑ ↓ k j', 'move; also pageup, pagedown, home, end'],
      ['enter →', 'look into the route'],
      ['esc ←', 'back; in the overview, clear the filter'],
      ['/', 'show only routes whose name contains what you type'],
      ['s', 'sort by the next column: rate, refused, p95, open, mode, name'],
      ['r', 'reverse the order'],
      ['space f', 'freeze the picture, and go on'],
      ['q', 'quit'],
    ] as const
  ).map(([key, does]): Line => [span(`  ${key.padEnd(10)}`, 'bold'), span(does)]),
  [],
  [span('  MODE* is an operator’s override. Latency is of the last seconds.')],
  [span('  MODE observe: nothing is enforced; MODE~: only on a part of the connects.')],
  [span('  SLOTS has one bar a backend: half high is its fair share.')],
  [span('  x is isolated, and 11:1d2x are 11 backends, 1 degraded, 2 isolated.')],
];
