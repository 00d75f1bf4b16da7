// The audit log: each change an operator made, by whom and why, one JSON line
// each. It never stands in the way of the change.
import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

export interface OperatorAction {
  readonly command: string;
  readonly pinPath: string;
  readonly reason: string | undefined;
  readonly before: unknown;
  readonly after: unknown;
}

/** Under sudo, the caller is who called sudo. */
function caller(): { uid: number; sudoUid: number | null } {
  const sudo = process.env['SUDO_UID'];
  return { uid: process.getuid?.() ?? 0, sudoUid: sudo === undefined ? null : Number(sudo) };
}

/** Appends the action; returns what went wrong, for the command to tell, instead of throwing. */
export function logAction(path: string, action: OperatorAction): string | undefined {
  const line = JSON.stringify(
    { time: new Date().toISOString(), ...caller(), ...action },
    (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
  );
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    appendFileSync(path, `${line}\n`, { mode: 0o640 });
    return undefined;
  } catch (error) {
    return `The change was not written to the audit log ${path}: ${error instanceof Error ? error.message : String(error)}.`;
  }
}
