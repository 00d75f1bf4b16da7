// What a check is. A rule looks at what was observed and says what it saw; it reads
// nothing itself, so that each can be tried on any machine, broken in any way.
import type { Observed } from './observed.js';

export const groups = [
  'privilege',
  'kernel',
  'mounts',
  'programs',
  'schema',
  'agent',
  'field',
  'sensors',
  'conflicts',
  'cluster',
] as const;
export type Group = (typeof groups)[number];

export type Status = 'ok' | 'warn' | 'fail';

export interface Check {
  /** Stable: documents link to it, and --suppress takes it. */
  readonly id: `NITY${string}`;
  readonly group: Group;
  readonly name: string;
  readonly status: Status;
  readonly seen: string;
  readonly expected: string;
  /** What to do, in one line; empty when nothing is. */
  readonly hint: string;
}

export interface Finding {
  readonly status: Status;
  readonly seen: string;
  /** Where what to do depends on what was seen. */
  readonly hint?: string;
}

export interface Rule extends Pick<Check, 'id' | 'group' | 'name' | 'expected' | 'hint'> {
  /** What it means for traffic when it is not so; for the page of checks. */
  readonly about: string;
  /** Null: it does not apply here, or cannot be told. */
  readonly look: (observed: Observed) => Finding | null;
}

export function ok(seen: string): Finding {
  return { status: 'ok', seen };
}

export function warn(seen: string, hint?: string): Finding {
  return { status: 'warn', seen, ...(hint === undefined ? {} : { hint }) };
}

export function fail(seen: string, hint?: string): Finding {
  return { status: 'fail', seen, ...(hint === undefined ? {} : { hint }) };
}

export function apply(rule: Rule, observed: Observed): Check[] {
  const finding = rule.look(observed);
  if (finding === null) return [];
  const { id, group, name, expected } = rule;
  const { status, seen } = finding;
  const hint = status === 'ok' ? '' : (finding.hint ?? rule.hint);
  return [{ id, group, name, status, seen, expected, hint }];
}

/** "3 routes", "1 route". */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** The first few of many. */
export function some(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
