// Tables as a person and awk read them: whole texts, so that what moves is seen.
import { afterEach, describe, expect, it } from 'vitest';

import { chooseColour } from '../../src/lib/cli/colour.js';
import { renderTable, type Column } from '../../src/lib/cli/table.js';

interface Backend {
  readonly name: string;
  readonly slots: number | bigint | null;
  readonly share: string;
}

const columns: readonly Column<Backend>[] = [
  { head: 'BACKEND', cell: ({ name }) => name },
  { head: 'SLOTS', align: 'right', cell: ({ slots }) => slots },
  { head: 'SHARE', wide: true, cell: ({ share }) => share },
];
const plain = { headers: true, wide: false };

const rows: readonly Backend[] = [
  { name: '10.0.0.1:8080', slots: 7, share: '██▌ ' },
  { name: '10.0.0.12:8080', slots: 1024n, share: '▏   ' },
  { name: '10.0.0.1:8080', slots: 7, share: '██▌ ' },
];

afterEach(() => {
  chooseColour('auto');
});

describe('a table', () => {
  it('keeps every row in its order, each column as wide as its widest', () => {
    chooseColour('never');
    expect(renderTable(rows, columns, plain).split('\n')).toEqual([
      'BACKEND         SLOTS',
      '10.0.0.1:8080       7',
      '10.0.0.12:8080   1024',
      '10.0.0.1:8080       7',
    ]);
  });

  it('shows the wide columns only when asked, and never a space at the end', () => {
    chooseColour('never');
    expect(renderTable(rows.slice(0, 2), columns, { headers: false, wide: true })).toBe(
      '10.0.0.1:8080      7  ██▌\n10.0.0.12:8080  1024  ▏',
    );
  });

  it('is as wide in colour as without', () => {
    chooseColour('always');
    const [head] = renderTable(rows, columns, plain).split('\n');
    expect(head).toBe('\x1b[1mBACKEND\x1b[22m         \x1b[1mSLOTS\x1b[22m');
  });

  it('gives a wide character its two places', () => {
    chooseColour('never');
    const named = ['東京', 'oslo'].map((name) => ({ name, slots: 1, share: '' }));
    expect(renderTable(named, columns, { headers: false, wide: false })).toBe('東京  1\noslo  1');
  });

  it('is one line a row, and a dash where there is nothing', () => {
    chooseColour('never');
    const noted = [
      { name: 'two\nlines', slots: null, share: '' },
      { name: '', slots: 0, share: '█' },
    ];
    expect(renderTable(noted, columns, { headers: false, wide: true }).split('\n')).toEqual([
      'two lines  -  -',
      '-          0  █',
    ]);
  });

  it('is its head alone without rows, and nothing without either', () => {
    chooseColour('never');
    expect(renderTable([], columns, plain)).toBe('BACKEND  SLOTS');
    expect(renderTable([], columns, { headers: false, wide: false })).toBe('');
  });

  it('holds as many rows as a dataplane has backends', () => {
    chooseColour('never');
    const many = Array.from({ length: 131_072 }, () => ({ name: 'a', slots: 1, share: '' }));
    const lines = renderTable(many, columns, plain).split('\n');
    expect(lines).toHaveLength(131_073);
    expect(lines.at(-1)).toBe('a            1');
  });
});
