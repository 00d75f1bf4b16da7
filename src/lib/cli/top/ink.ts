// Text with ink: a line is made of spans, cut to the width by what is seen, and only
// then coloured. A terminal that knows no block characters gets digits.
import type { ChalkInstance } from 'chalk';

export type Ink = 'plain' | 'bold' | 'dim' | 'red' | 'yellow' | 'green' | 'cyan';

export interface Span {
  readonly text: string;
  readonly ink: Ink;
}

export type Line = readonly Span[];

export function span(text: string, ink: Ink = 'plain'): Span {
  return { text, ink };
}

export function rule(title: string, columns: number): Line {
  return [span(`─ ${title} ${'─'.repeat(Math.max(0, columns - title.length - 3))}`, 'dim')];
}

/** What else than printable ASCII a line may hold, each one column wide. */
const known = /[^ -~¡-¬®-ÿ▁-▏░▒▓│─…·→←↑↓µ’]/gu;

/** One column a character, and nothing that moves the cursor: names come from maps and files. */
function printable(text: string): string {
  return text.replaceAll(known, '?');
}

/** To exactly `width` columns: cut with an ellipsis, or filled with spaces. */
export function fitted(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const shown = printable(text);
  if (shown.length > width) return width < 1 ? '' : `${shown.slice(0, width - 1)}…`;
  return align === 'left' ? shown.padEnd(width) : shown.padStart(width);
}

/** A line as it is written, never wider than `width`. */
export function inked(line: Line, width: number, chalk: ChalkInstance, glyphs: Glyphs): string {
  let left = width;
  let written = '';
  for (const { text, ink } of line) {
    if (left <= 0) break;
    const shown = printable(text);
    const part = shown.length > left ? fitted(shown, left) : shown;
    left -= part.length;
    const spelt = glyphs === 'ascii' ? plainAscii(part) : part;
    written += ink === 'plain' ? spelt : chalk[ink](spelt);
  }
  return written;
}

export type Glyphs = 'blocks' | 'ascii';

/** The Linux console and terminals of another encoding have no eighths of a block. */
export function glyphsFor(environment: Readonly<Record<string, string | undefined>>): Glyphs {
  const { LC_ALL, LC_CTYPE, LANG, TERM } = environment;
  const locale =
    [LC_ALL, LC_CTYPE, LANG].find((value) => value !== undefined && value !== '') ?? '';
  return /utf-?8/i.test(locale) && TERM !== 'linux' && TERM !== 'dumb' ? 'blocks' : 'ascii';
}

const spellings: Readonly<Record<string, string>> = {
  '│': '|',
  '─': '-',
  '…': '~',
  '·': '.',
  '→': '>',
  '←': '<',
  '↑': '^',
  '↓': 'v',
  µ: 'u',
  '█': '#',
  '’': "'",
};

/** Heights of a bar are digits from 1 to 8; any other character has one plain stand-in. */
function plainAscii(text: string): string {
  return text.replaceAll(/[^ -~]/gu, (character) => {
    const left = '▏▎▍▌▋▊▉'.indexOf(character);
    if (left >= 0) return left < 3 ? ' ' : '#';
    const eighth = '▁▂▃▄▅▆▇█'.indexOf(character);
    return spellings[character] ?? (eighth >= 0 ? String(eighth + 1) : '?');
  });
}
