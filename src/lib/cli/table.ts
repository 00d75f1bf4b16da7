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
  middle: '',
};

export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { headers, wide }: TableOptions,
): string {
  const { bold } = palette('stdout');
  const shown = columns
    .filter((column) => wide || column.wide !== true)
    .map(({ head, align, cell }) => {
      const texts = rows.map((row) => cellText(cell(row)));
      return laidOut(headers ? [bold(head), ...texts] : texts, align ?? 'left');
    });
  const [first = []] = shown;
  return first
    .map((_, line) =>
      shown
        .map((column) => column[line])
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** An empty cell or a second line would shift awk's columns: what is missing is a dash. */
function cellText(value: string | number | bigint | null): string {
  return String(value ?? '').replace(/\s*\n\s*/g, ' ') || '-';
}

/**
 * A column of texts, all as wide as its widest. The library's time goes into cells, and with the
 * square of their number; in a column most are alike, so each distinct one is laid out once.
 */
function laidOut(texts: readonly string[], align: 'left' | 'right'): (string | undefined)[] {
  const distinct = [...new Set(texts)];
  const table = new Table({
    chars: bare,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    colAligns: [align],
  });
  for (const text of distinct) table.push([text]);
  const lines = table.toString().split('\n');
  const lineOf = new Map(distinct.map((text, i) => [text, lines[i]]));
  return texts.map((text) => lineOf.get(text));
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `share` (0 to 1) of `width` characters, in eighths. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.max(0, Math.min(1, share)) * width * 8);
  return `${'█'.repeat(filled >> 3)}${eighths[filled & 7] ?? ''}`.padEnd(width);
}
