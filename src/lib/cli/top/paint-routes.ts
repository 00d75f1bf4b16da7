// The table of routes: one row each, with a bar for every backend's slots.
import { fitted, span, type Ink, type Line, type Span } from './ink.js';
import { count, latency } from '../numbers.js';
import type { BackendRow, RouteRow, TopFrame } from './frame.js';
import type { SortKey, View } from './view.js';

interface Column {
  readonly head: string;
  readonly width: number;
  readonly sort?: SortKey;
  readonly cell: (row: RouteRow) => string;
  readonly ink?: (row: RouteRow) => Ink;
}

const narrowest = 16;
const widestName = 60;
const mostBars = 64;

function columnsFor(frame: TopFrame): Column[] {
  const word = frame.latency === 'first-byte' ? 'P' : 'C';
  return [
    {
      head: 'MODE',
      width: 7,
      sort: 'mode',
      cell: modeCell,
      ink: ({ mode }) => (mode === 'normal' ? 'plain' : mode === 'soft' ? 'yellow' : 'red'),
    },
    {
      head: 'RATE/s',
      width: 6,
      sort: 'rate',
      cell: ({ picksPerSecond }) => count(picksPerSecond),
    },
    {
      head: 'REF/s',
      width: 5,
      sort: 'refused',
      cell: ({ refusedPerSecond }) => count(refusedPerSecond),
      ink: ({ refusedPerSecond }) => (refusedPerSecond > 0 ? 'yellow' : 'plain'),
    },
    { head: `${word}50`, width: 5, cell: ({ p50Us }) => latency(p50Us) },
    { head: `${word}95`, width: 5, sort: 'p95', cell: ({ p95Us }) => latency(p95Us) },
    { head: 'OPEN', width: 5, sort: 'open', cell: ({ open }) => count(open) },
  ];
}

/** Of a route that is only observed its mode says nothing, unless an operator set it. */
function modeCell({ mode, overrideLeftMs, enforcedPercent }: RouteRow): string {
  if (overrideLeftMs !== null) return `${mode}*`;
  if (enforcedPercent === 0) return 'observe';
  return `${mode}${enforcedPercent < 100 ? '~' : ''}`;
}

/** "11", or "11:1d2x" with the degraded and the isolated. */
function census({ backends }: RouteRow): string {
  const of = (state: BackendRow['state']) =>
    backends.filter((backend) => backend.state === state).length;
  const degraded = of('degraded');
  const isolated = of('isolated');
  const unwell = `${degraded === 0 ? '' : `${degraded}d`}${isolated === 0 ? '' : `${isolated}x`}`;
  return `${backends.length}${unwell === '' ? '' : `:${unwell}`}`;
}

export function inkOfState(state: BackendRow['state']): Ink {
  return state === 'isolated' ? 'red' : state === 'degraded' ? 'yellow' : 'cyan';
}

const heights = '▁▂▃▄▅▆▇█';

/** Half high is a fair share; an isolated backend has no height to speak of. */
function barOf({ state, slots }: BackendRow, fair: number): Span {
  if (state === 'isolated') return span('x', 'red');
  if (slots === 0) return span('·', inkOfState(state));
  const eighths = Math.max(1, Math.min(8, Math.round((slots / fair) * 4)));
  return span(heights[eighths - 1] ?? '█', inkOfState(state));
}

function bars(row: RouteRow, width: number): Span[] {
  const { backends, slots } = row;
  if (width < 1) return [];
  const fair = slots / Math.max(1, backends.length);
  const fit = backends.length <= width ? backends.length : Math.max(0, width - 1);
  const made = backends.slice(0, fit).map((backend) => barOf(backend, fair));
  return backends.length > fit ? [...made, span('…', 'dim')] : made;
}

interface Widths {
  readonly name: number;
  readonly bars: number;
}

const censusWidth = 8;

/** The name takes what the bars can spare: they are one column a backend. */
function widthsFor(frame: TopFrame, columns: number): Widths {
  const fixed = columnsFor(frame).reduce((sum, { width }) => sum + width + 1, 0);
  const left = columns - 2 - fixed - censusWidth - 2;
  let longest = 5;
  let most = 5;
  for (const { route, backendCount } of frame.routes) {
    longest = Math.max(longest, route.length);
    most = Math.max(most, backendCount);
  }
  const name = Math.max(
    narrowest,
    Math.min(longest, widestName, left - Math.min(most, mostBars, 11)),
  );
  return { name, bars: Math.max(0, Math.min(mostBars, left - name)) };
}

export function routesHead(frame: TopFrame, view: View, columns: number): Line {
  const widths = widthsFor(frame, columns);
  const arrow = view.reversed ? '↑' : '↓';
  const titled = (head: string, width: number, sort: SortKey | undefined, right: boolean) =>
    span(
      fitted(
        sort === view.sort ? (head.length < width ? `${head}${arrow}` : head) : head,
        width,
        right ? 'right' : 'left',
      ),
      sort === view.sort ? 'cyan' : 'bold',
    );
  const cells = columnsFor(frame).flatMap(({ head, width, sort }, i) => [
    span(' '),
    titled(head, width, sort, i > 0),
  ]);
  return [
    span('  '),
    titled('ROUTE', widths.name, 'name', false),
    ...cells,
    span(' '),
    span(fitted('BACKENDS', censusWidth), 'bold'),
    span(' '),
    span('SLOTS', 'bold'),
  ];
}

/** `selected` is its place among `rows`. */
export function paintRoutes(
  frame: TopFrame,
  rows: readonly RouteRow[],
  selected: number | null,
  columns: number,
): Line[] {
  const widths = widthsFor(frame, columns);
  const table = columnsFor(frame);
  return rows.map((row, at) => [
    span(at === selected ? '> ' : '  ', 'bold'),
    span(fitted(row.route, widths.name), at === selected ? 'bold' : 'plain'),
    ...table.flatMap(({ width, cell, ink }, i) => [
      span(' '),
      span(fitted(cell(row), width, i === 0 ? 'left' : 'right'), ink?.(row) ?? 'plain'),
    ]),
    span(' '),
    span(fitted(census(row), censusWidth), unwell(row) ? 'yellow' : 'plain'),
    span(' '),
    ...bars(row, widths.bars),
  ]);
}

function unwell({ backends }: RouteRow): boolean {
  return backends.some(({ state }) => state !== 'healthy');
}
