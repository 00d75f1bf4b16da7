// The audit log: each change an operator made, by whom and why, one JSON line
// each. It never stands in the way of the change.
import { appendFileSync, closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';

import { errnoOf, InputError, messageOf, PrivilegeError } from '../errors.js';

export interface OperatorAction {
  readonly command: string;
  readonly pinPath: string;
  readonly reason: string | undefined;
  readonly before: unknown;
  readonly after: unknown;
}

export interface LoggedAction {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly uid: number;
  /** Who called sudo, if sudo was called. */
  readonly sudoUid: number | null;
  readonly sudoUser: string | null;
  readonly command: string;
  readonly pinPath: string;
  readonly reason: string | null;
  readonly before: unknown;
  readonly after: unknown;
}

/** Under sudo, the caller is who called sudo. */
function caller(): Pick<LoggedAction, 'uid' | 'sudoUid' | 'sudoUser'> {
  const { SUDO_UID: sudo, SUDO_USER: user } = process.env;
  return {
    uid: process.getuid?.() ?? 0,
    sudoUid: sudo === undefined ? null : Number(sudo),
    sudoUser: user ?? null,
  };
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
    return `This was not written to the audit log ${path}: ${messageOf(error)}.`;
  }
}

/** So much of the log's end is read, however long it has become. */
const mostBytesRead = 4 << 20;

export interface AuditTrail {
  /** The newest last. */
  readonly actions: readonly LoggedAction[];
  /** Lines that are no action: a line cut short by a full disk, or somebody else's. */
  readonly unreadable: number;
}

/** The last actions of the log; none where nobody has done anything yet. */
export function readActions(path: string, most: number): AuditTrail {
  const lines = tailOf(path);
  const actions = lines.flatMap((line) => parseAction(line) ?? []);
  return { actions: actions.slice(-most), unreadable: lines.length - actions.length };
}

function tailOf(path: string): string[] {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw unreadableLog(path, error);
  }
  try {
    const { size } = fstatSync(file);
    const from = Math.max(0, size - mostBytesRead);
    const bytes = Buffer.alloc(size - from);
    const read = readSync(file, bytes, 0, bytes.length, from);
    const lines = bytes.toString('utf8', 0, read).split('\n');
    // The first of a part is itself a part.
    return lines.slice(from === 0 ? 0 : 1).filter((line) => line.trim() !== '');
  } catch (error) {
    throw unreadableLog(path, error);
  } finally {
    closeSync(file);
  }
}

function unreadableLog(path: string, error: unknown): Error {
  const code = errnoOf(error) ?? String(error);
  const what = `The audit log ${path} cannot be read: ${code}.`;
  return code === 'EACCES' || code === 'EPERM'
    ? new PrivilegeError(what, 'Run it with sudo.', error)
    : new InputError(what, 'Name the log with --audit-log.', error);
}

function parseAction(line: string): LoggedAction | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const given = parsed as Partial<Record<keyof LoggedAction, unknown>>;
  const { time, uid, command, sudoUid, sudoUser, pinPath, reason, before, after } = given;
  if (typeof time !== 'string' || typeof uid !== 'number' || typeof command !== 'string') {
    return undefined;
  }
  return {
    ...{ time, uid, command },
    sudoUid: typeof sudoUid === 'number' ? sudoUid : null,
    sudoUser: typeof sudoUser === 'string' ? sudoUser : null,
    pinPath: typeof pinPath === 'string' ? pinPath : '',
    reason: typeof reason === 'string' ? reason : null,
    before: before ?? null,
    after: after ?? null,
  };
}
