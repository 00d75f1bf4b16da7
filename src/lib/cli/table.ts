// Plain columns that a person and awk can both read.
import Table from 'cli-table3';

import { palette } from './colour.js';

export interface Column<Row> {
  readonly head: string;
  readonly align?: 'right';
  /** Only with -o wide. */
  readonly wide?: boolean;
  readonly cell: (row: Row) => string | number | bigint | null;
}

export interface TableOptions {
  readonly headers: boolean;
  readonly wide: boolean;
}

const bare = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { headers, wide }: TableOptions,
): string {
  const shown = columns.filter((column) => wide || column.wide !== true);
  const { bold } = palette('stdout');
  const table = new Table({
    chars: bare,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colAligns: shown.map(({ align }) => align ?? 'left'),
    ...(headers ? { head: shown.map(({ head }) => bold(head)) } : {}),
  });
  // An empty cell would shift awk's columns: what is missing is a dash.
  for (const row of rows) table.push(shown.map(({ cell }) => String(cell(row) ?? '-')));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `share` (0 to 1) of `width` characters, in eighths. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.max(0, Math.min(1, share)) * width * 8);
  return `${'█'.repeat(filled >> 3)}${eighths[filled & 7] ?? ''}`.padEnd(width);
}
