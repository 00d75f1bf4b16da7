// What the operator chose to see, and what each key does to it. Pure.
import type { RouteRow, TopFrame } from './frame.js';

export const sortKeys = ['rate', 'refused', 'p95', 'open', 'mode', 'name'] as const;
export type SortKey = (typeof sortKeys)[number];

export interface View {
  readonly sort: SortKey;
  readonly reversed: boolean;
  /** Part of a route's name; empty for all. */
  readonly filter: string;
  /** The filter is being typed. */
  readonly typing: boolean;
  /** By name, so that it stays on its route when the order changes. */
  readonly selected: string | null;
  /** The route that is looked into. */
  readonly route: string | null;
  /** Backends of it that were scrolled away. */
  readonly scroll: number;
  readonly frozen: boolean;
  readonly help: boolean;
}

export const firstView: View = {
  sort: 'rate',
  reversed: false,
  filter: '',
  typing: false,
  selected: null,
  route: null,
  scroll: 0,
  frozen: false,
  help: false,
};

export interface Key {
  /** As node:readline names it: "up", "return", "q". */
  readonly name: string;
  /** The character, where it is one. */
  readonly text: string;
  readonly ctrl: boolean;
}

const gravity = { normal: 0, soft: 1, hard: 2 } as const;

/** The gravest or busiest first; names from a to z. */
const orders: Readonly<Record<SortKey, (a: RouteRow, b: RouteRow) => number>> = {
  rate: (a, b) => b.picksPerSecond - a.picksPerSecond,
  refused: (a, b) => b.refusedPerSecond - a.refusedPerSecond,
  p95: (a, b) => (b.p95Us ?? -1) - (a.p95Us ?? -1),
  open: (a, b) => b.open - a.open,
  mode: (a, b) => gravity[b.mode] - gravity[a.mode],
  name: () => 0,
};

function byName(a: RouteRow, b: RouteRow): number {
  return a.route < b.route ? -1 : a.route > b.route ? 1 : 0;
}

/** The routes that pass the filter, in the order that was chosen; ties go by name. */
export function shownRoutes(
  { routes }: Pick<TopFrame, 'routes'>,
  { sort, reversed, filter }: Pick<View, 'sort' | 'reversed' | 'filter'>,
): RouteRow[] {
  const order = orders[sort];
  const direction = reversed ? -1 : 1;
  const wanted = filter.toLowerCase();
  return routes
    .filter(({ route }) => wanted === '' || route.toLowerCase().includes(wanted))
    .sort((a, b) => direction * (order(a, b) || byName(a, b)));
}

/** The place of the selected route among those shown; the first when it is not there. */
export function selectedAt(shown: readonly RouteRow[], { selected }: View): number {
  return Math.max(
    0,
    shown.findIndex(({ route }) => route === selected),
  );
}

const longestFilter = 60;
/** Backends that a page goes by. */
const scrolled = 8;

function typed(view: View, key: Key): View {
  if (key.name === 'return') return { ...view, typing: false };
  if (key.name === 'escape') return { ...view, typing: false, filter: '' };
  if (key.name === 'backspace') return { ...view, filter: view.filter.slice(0, -1) };
  if (key.ctrl || !/^[ -~]$/.test(key.text)) return view;
  return { ...view, filter: (view.filter + key.text).slice(0, longestFilter) };
}

/** The view after a key, or "quit". `page` is how many routes fit. */
export function press(view: View, key: Key, frame: TopFrame, page: number): View | 'quit' {
  if (key.ctrl && key.name === 'c') return 'quit';
  if (view.typing) return typed(view, key);
  if (view.help) return key.name === 'q' ? 'quit' : { ...view, help: false };
  switch (key.text === '?' || key.text === '/' ? key.text : key.name) {
    case 'q':
      return view.route === null ? 'quit' : { ...view, route: null };
    case 'escape':
    case 'left':
    case 'backspace':
      return view.route === null ? { ...view, filter: '' } : { ...view, route: null };
    case '?':
    case 'h':
      return { ...view, help: true };
    case '/':
      return view.route === null ? { ...view, typing: true } : view;
    case 's': {
      const next = sortKeys[(sortKeys.indexOf(view.sort) + 1) % sortKeys.length];
      return { ...view, sort: next ?? 'rate', reversed: false };
    }
    case 'r':
      return { ...view, reversed: !view.reversed };
    case 'space':
    case 'f':
      return { ...view, frozen: !view.frozen };
    case 'return':
    case 'right': {
      const shown = shownRoutes(frame, view);
      return view.route === null
        ? { ...view, route: shown[selectedAt(shown, view)]?.route ?? null, scroll: 0 }
        : view;
    }
    default:
      return moved(view, key.name, frame, page);
  }
}

/** Up and down go through the routes, also while one is looked into; pages are then of its backends. */
function moved(view: View, key: string, frame: TopFrame, page: number): View {
  if (view.route !== null && (key === 'pageup' || key === 'pagedown')) {
    const row = frame.routes.find(({ route }) => route === view.route);
    const last = Math.max(0, (row?.backends.length ?? 0) - 1);
    const by = key === 'pageup' ? -scrolled : scrolled;
    return { ...view, scroll: Math.max(0, Math.min(last, view.scroll + by)) };
  }
  const shown = shownRoutes(frame, view);
  const steps: Readonly<Record<string, number>> = {
    up: -1,
    k: -1,
    down: 1,
    j: 1,
    pageup: -page,
    pagedown: page,
    home: -shown.length,
    end: shown.length,
  };
  const by = steps[key];
  if (by === undefined || shown.length === 0) return view;
  const at = Math.max(0, Math.min(shown.length - 1, selectedAt(shown, view) + by));
  const selected = shown[at]?.route ?? null;
  return { ...view, selected, route: view.route === null ? null : selected, scroll: 0 };
}
