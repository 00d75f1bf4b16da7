// Plain columns that a person and awk can both read.
import { stripVTControlCharacters } from 'node:util';

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

const gap = '  ';

export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { headers, wide }: TableOptions,
): string {
  const shown = columns.filter((column) => wide || column.wide !== true);
  const { bold } = palette('stdout');
  // An empty cell would shift awk's columns: what is missing is a dash.
  const lines = rows.map((row) => shown.map(({ cell }) => String(cell(row) ?? '-')));
  const heads = shown.map(({ head }) => head);
  const widths = shown.map((_, i) =>
    [...(headers ? [heads] : []), ...lines].reduce(
      (widest, cells) => Math.max(widest, widthOf(cells[i] ?? '')),
      0,
    ),
  );
  const aligned = (cells: readonly string[], style: (text: string) => string): string =>
    cells
      .map((cell, i) => {
        const padding = ' '.repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell)));
        const styled = style(cell);
        return shown[i]?.align === 'right' ? padding + styled : styled + padding;
      })
      .join(gap)
      .trimEnd();
  return [
    ...(headers ? [aligned(heads, (text) => bold(text))] : []),
    ...lines.map((cells) => aligned(cells, (text) => text)),
  ].join('\n');
}

/** As it is seen: names, numbers and bars are one column a character. */
function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `share` (0 to 1) of `width` characters, in eighths. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.max(0, Math.min(1, share)) * width * 8);
  return `${'█'.repeat(filled >> 3)}${eighths[filled & 7] ?? ''}`.padEnd(width);
}
