// Decisions as lines that stand below each other, one each: a stream has no last row that a
// table could be fitted to, so the columns have their widths from the beginning.
import type { ChalkInstance } from 'chalk';

import { fitted } from '../top/ink.js';
import type { ToldDecision } from './told.js';

interface Column {
  readonly head: string;
  readonly width: number;
  readonly right?: boolean;
  readonly cell: (one: ToldDecision) => string | null;
}

/** A time of less than 10 s in four digits at most. */
function cost(ns: number): string {
  return ns < 10_000 ? `${ns}ns` : `${(ns / 1000).toFixed(0)}µs`;
}

function timeOfDay(time: string, digits: number): string {
  return time.slice(11, 11 + digits);
}

const leastRoute = 14;
const mostRoute = 40;
/** From this width on slots and milliseconds fit. */
const roomyColumns = 110;
/** Of a pipe, which has no width: nothing is cut short there that says where. */
const pipeColumns = 200;

export class Lines {
  private readonly columns: readonly Column[];
  private readonly width: number;

  /** `width` of the terminal; null where there is none. */
  constructor(
    width: number | null,
    wide: boolean,
    private readonly chalk: ChalkInstance,
  ) {
    // Who asks for more columns wants them whole.
    this.width = wide ? Infinity : (width ?? Infinity);
    const room = width ?? pipeColumns;
    const roomy = wide || room >= roomyColumns;
    const fixed: Column[] = [
      {
        head: 'TIME',
        width: roomy ? 12 : 8,
        cell: ({ time }) => timeOfDay(time, roomy ? 12 : 8),
      },
      { head: 'PID', width: 7, right: true, cell: ({ pid }) => String(pid) },
      { head: 'COMMAND', width: roomy ? 15 : 9, cell: ({ command }) => command },
    ];
    const rest: Column[] = [
      ...(roomy
        ? [
            {
              head: 'SLOT',
              width: 5,
              right: true,
              cell: ({ slot }: ToldDecision) => slot?.toString() ?? null,
            },
          ]
        : []),
      { head: 'BACKEND', width: 21, cell: ({ backend }) => backend },
      { head: 'OUTCOME', width: roomy ? 11 : 9, cell: ({ outcome }) => outcome },
      { head: 'COST', width: 6, right: true, cell: ({ costNs }) => cost(costNs) },
    ];
    const taken = [...fixed, ...rest].reduce((sum, { width: own }) => sum + own + 1, 0);
    const route = Math.max(leastRoute, Math.min(mostRoute, room - taken));
    this.columns = [
      ...fixed,
      { head: 'ROUTE', width: route, cell: ({ route: name }) => name },
      ...rest,
      ...(wide || room >= taken + route + 30
        ? [{ head: 'CGROUP', width: Infinity, cell: ({ cgroup }: ToldDecision) => cgroup }]
        : []),
    ];
  }

  head(): string {
    return this.chalk.bold(this.line(({ head }) => head));
  }

  row(one: ToldDecision): string {
    const line = this.line(({ cell }) => cell(one) ?? '-');
    return one.decision === 'refused' ? this.chalk.yellow(line) : line;
  }

  private line(text: (column: Column) => string): string {
    const cells = this.columns.map((column) => {
      const { width, right = false } = column;
      return width === Infinity
        ? fitted(text(column), text(column).length)
        : fitted(text(column), width, right ? 'right' : 'left');
    });
    const line = cells.join(' ').trimEnd();
    return line.length > this.width ? `${line.slice(0, this.width - 1)}…` : line;
  }
}
