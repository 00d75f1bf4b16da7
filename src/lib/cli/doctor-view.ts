// Checks as a person reads them: by group, one line each; under what is not ok, what
// was expected and what to do. On a terminal lines are broken at its width.
import { groups, type Check, type Status } from '../doctor/check.js';
import type { Verdict } from '../doctor/doctor.js';
import { palette } from './colour.js';

export interface DoctorViewOptions {
  readonly headers: boolean;
  /** Columns of the terminal; null to break no line. */
  readonly width: number | null;
}

const indent = 16;

function wrap(text: string, width: number | null): string[] {
  if (width === null) return [text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** `text` after `lead`, its further lines under its first. */
function hanging(lead: string, text: string, width: number | null): string {
  const room = width === null ? null : Math.max(20, width - lead.length);
  return wrap(text, room)
    .map((line, i) => (i === 0 ? `${lead}${line}` : `${' '.repeat(lead.length)}${line}`))
    .join('\n');
}

function renderCheck(check: Check, width: number | null): string[] {
  const { green, yellow, red, dim } = palette('stdout');
  const paint: Readonly<Record<Status, (text: string) => string>> = {
    ok: green,
    warn: yellow,
    fail: red,
  };
  const { id, name, status, seen, expected, hint } = check;
  const word = status.padEnd(4);
  const lead = `  ${word}  ${id}  `;
  const line = hanging(lead, `${name}: ${seen}`, width).replace(word, paint[status](word));
  if (status === 'ok') return [line];
  const margin = ' '.repeat(indent);
  return [
    line,
    dim(hanging(`${margin}  `, `expected: ${expected}`, width)),
    hanging(`${margin}→ `, hint, width),
  ];
}

export function renderChecks(
  checks: readonly Check[],
  { counts }: Verdict,
  { headers, width }: DoctorViewOptions,
): string {
  const { bold } = palette('stdout');
  const lines = groups.flatMap((group) => {
    const own = checks.filter((check) => check.group === group);
    if (own.length === 0) return [];
    const body = own.flatMap((check) => renderCheck(check, width));
    return headers ? [bold(group), ...body] : body;
  });
  const told = `${checks.length} checks: ${counts.ok} ok, ${counts.warn} warn, ${counts.fail} fail`;
  return [...lines, ...(headers ? [told] : [])].join('\n');
}
