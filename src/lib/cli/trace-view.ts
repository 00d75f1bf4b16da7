// How decisions look as they are told: a line each, in columns that fit the terminal. What
// goes into a pipe is never cut.
import type { Decision } from '../dataplane/listener.js';
import type { PodOfCgroup } from '../kubernetes/pod-of-cgroup.js';
import { palette } from './colour.js';

export interface TracedDecision extends Decision {
  readonly pod: PodOfCgroup | null;
}

export interface TraceTotals {
  readonly picked: number;
  readonly refused: number;
  readonly overBudget: number;
  readonly ringFull: number;
  readonly deafMs: number;
  readonly forMs: number;
}

interface Column {
  readonly head: string;
  readonly width: number;
  readonly align?: 'right';
  readonly cell: (decision: TracedDecision) => string;
  readonly paint?: (text: string, decision: TracedDecision) => string;
}

const narrowBelow = 120;
const fromAbove = 150;
const routeLeast = 10;

export class TraceView {
  private readonly columns: readonly Column[];
  private readonly gap: string;

  /** `width` of the terminal; undefined for a pipe or a file. */
  constructor(width: number | undefined) {
    const narrow = width !== undefined && width < narrowBelow;
    this.gap = narrow ? ' ' : '  ';
    this.columns = narrow ? narrowColumns(width) : wideColumns(width);
  }

  heading(): string {
    const { bold } = palette('stdout');
    return this.line((column) => bold(this.fitted(column.head, column)));
  }

  decision(decision: TracedDecision): string {
    return this.line((column) => {
      const text = this.fitted(column.cell(decision), column);
      return column.paint?.(text, decision) ?? text;
    });
  }

  private fitted(text: string, { width, align }: Column): string {
    return align === 'right' ? text.padStart(width) : text.padEnd(width);
  }

  private line(cell: (column: Column) => string): string {
    return this.columns.map(cell).join(this.gap).trimEnd();
  }
}

function paints() {
  const { dim, red, yellow } = palette('stdout');
  return {
    faint: (text: string) => dim(text),
    outcome: (text: string, { outcome }: Decision) => {
      if (isRefusal(outcome)) return red(text);
      return outcome === 'pickedFallback' ? yellow(text) : text;
    },
  };
}

function isRefusal(outcome: string): boolean {
  return outcome.startsWith('refused');
}

function narrowColumns(width: number): Column[] {
  const { faint, outcome } = paints();
  const others = 9 + 7 + 6 + 4 + 16 + 5 + 12 + 7;
  const route = Math.max(routeLeast, width - others);
  return [
    { head: 'TIME', width: 9, cell: ({ atMs }) => clock(atMs).slice(3), paint: faint },
    { head: 'PID', width: 7, align: 'right', cell: ({ pid }) => String(pid) },
    { head: 'COMM', width: 6, cell: ({ command }) => cutEnd(printable(command), 6) },
    { head: 'ROUTE', width: route, cell: (decision) => cutMiddle(decision.route, route) },
    { head: 'SLOT', width: 4, align: 'right', cell: ({ slot }) => String(slot ?? '-') },
    { head: 'BACKEND', width: 16, cell: ({ backend }) => backend ?? '-' },
    { head: 'COST', width: 5, align: 'right', cell: ({ costNs }) => cost(costNs), paint: faint },
    { head: 'OUTCOME', width: 0, cell: (decision) => shortOutcome(decision), paint: outcome },
  ];
}

function wideColumns(width: number | undefined): Column[] {
  const { faint, outcome } = paints();
  const others = 12 + 7 + 15 + 5 + 21 + 6 + 17 + 7 * 2;
  const spare = width === undefined ? undefined : Math.max(routeLeast, width - others);
  const withFrom = width === undefined || width >= fromAbove;
  const forRoute = spare === undefined || !withFrom ? spare : Math.floor((spare - 2) * 0.4);
  const forFrom = spare === undefined ? undefined : spare - 2 - (forRoute ?? 0);
  const fitted = (text: string, most: number | undefined, cut: typeof cutMiddle) =>
    most === undefined ? text : cut(text, most);
  return [
    { head: 'TIME', width: 12, cell: ({ atMs }) => clock(atMs), paint: faint },
    { head: 'PID', width: 7, align: 'right', cell: ({ pid }) => String(pid) },
    { head: 'COMMAND', width: 15, cell: ({ command }) => printable(command) },
    {
      head: 'ROUTE',
      width: Math.min(forRoute ?? 30, 40),
      cell: ({ route }) => fitted(route, forRoute, cutMiddle),
    },
    { head: 'SLOT', width: 5, align: 'right', cell: ({ slot }) => String(slot ?? '-') },
    { head: 'BACKEND', width: 21, cell: ({ backend }) => backend ?? '-' },
    { head: 'COST', width: 6, align: 'right', cell: ({ costNs }) => cost(costNs), paint: faint },
    { head: 'OUTCOME', width: 17, cell: (decision) => decision.outcome, paint: outcome },
    ...(withFrom
      ? [
          {
            head: 'FROM',
            width: 0,
            cell: (decision: TracedDecision) => fitted(from(decision), forFrom, cutStart),
            paint: faint,
          },
        ]
      : []),
  ];
}

/** Of a pod its uid, of anything else its cgroup. */
function from({ pod, cgroup }: TracedDecision): string {
  return pod === null ? printable(cgroup ?? '-') : `pod/${pod.uid}`;
}

function shortOutcome({ outcome }: Decision): string {
  const name = outcome.replace(/^(picked|refused)/, '');
  const small = name.charAt(0).toLowerCase() + name.slice(1);
  return isRefusal(outcome) ? `✗ ${small}` : small;
}

/** In UTC, as the audit log and the flight recorder have it. */
function clock(atMs: number): string {
  return new Date(atMs).toISOString().slice(11, 23);
}

function cost(ns: number): string {
  if (ns < 1000) return `${ns}ns`;
  if (ns < 9950) return `${(ns / 1000).toFixed(1)}µs`;
  if (ns < 999_500) return `${(ns / 1000).toFixed(0)}µs`;
  return ns < 9_950_000 ? `${(ns / 1e6).toFixed(1)}ms` : `${(ns / 1e6).toFixed(0)}ms`;
}

/** A process names itself as it likes: nothing of it may move the cursor or shift awk's columns. */
function printable(text: string): string {
  return text === '' ? '-' : text.replaceAll(/[\p{C}\p{Z}]/gu, '_');
}

function cutEnd(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

function cutStart(text: string, most: number): string {
  return text.length <= most ? text : `…${text.slice(text.length - most + 1)}`;
}

/** Namespace and port are at the ends, and tell more than the middle of a name. */
function cutMiddle(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - end)}…${text.slice(text.length - end)}`;
}

const counted = (count: number) => count.toLocaleString('en-US');

/** What was not told since the last line, or undefined. */
export function describeGap(
  { overBudget, ringFull, deafMs }: Omit<TraceTotals, 'picked' | 'refused' | 'forMs'>,
  budget: number,
): string | undefined {
  const parts = [
    ...(overBudget > 0 ? [`${counted(overBudget)} over the budget of ${counted(budget)}/s`] : []),
    ...(ringFull > 0 ? [`${counted(ringFull)} that the ring had no room for`] : []),
  ];
  const lost = parts.length === 0 ? [] : [`decisions left out: ${parts.join(', ')}`];
  const deaf =
    deafMs > 0 ? [`nobody listened for ${counted(deafMs)} ms: this process did not run`] : [];
  const said = [...lost, ...deaf];
  return said.length === 0 ? undefined : said.join('; ');
}

export function describeTotals(totals: TraceTotals, budget: number): string {
  const { picked, refused, forMs } = totals;
  const seconds = `${(forMs / 1000).toFixed(1)} s`;
  const shown =
    picked + refused === 0
      ? `No decision in ${seconds}`
      : `${counted(picked + refused)} decision${picked + refused === 1 ? '' : 's'} in ${seconds}: ` +
        `${counted(picked)} picked, ${counted(refused)} refused`;
  return `${shown}; ${describeGap(totals, budget) ?? 'none left out'}.`;
}
