// Unloading: removes what `load` pinned and nothing else.
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { errnoOf, UnsafeError } from '../errors.js';
import { Lock } from './native.js';
import { exclusively, requireBpffs } from './pins.js';
import { privilegeError } from './privilege.js';
import { mapNames } from './plane.js';
import { programNames } from './programs.js';

export interface UnloadOptions {
  readonly pinPath: string;
  /** Unload under a running agent, and remove what a half-done load left. */
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

export interface UnloadReport {
  readonly action: 'unloaded' | 'absent';
  /** Paths of the pins that were, or would be, removed. */
  readonly removed: readonly string[];
}

function existing(directory: string, names: readonly string[]): string[] {
  try {
    const present = new Set(readdirSync(directory));
    return names.filter((name) => present.has(name)).map((name) => join(directory, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw errnoOf(error) === 'EACCES' ? privilegeError(directory, error) : error;
  }
}

function requireNoAgent(pinPath: string): void {
  try {
    const lock = Lock.tryAcquire(join(pinPath, 'agent'), 'exclusive');
    if (lock !== undefined) {
      lock.release();
      return;
    }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  throw new UnsafeError(
    `An agent is running on ${pinPath}.`,
    'Stop it first, or unload under it with --force.',
  );
}

/** Removes what `load` pinned and nothing else; connects are then the cluster's again. */
export function unload({ pinPath, force, dryRun }: UnloadOptions): UnloadReport {
  requireBpffs(pinPath);
  return exclusively(dirname(pinPath), () => {
    // Links first, those that open flows before those that keep the books.
    const pins = [
      ...existing(join(pinPath, 'links'), [...programNames].reverse()),
      ...existing(join(pinPath, 'maps'), mapNames),
    ];
    if (pins.length === 0 && existing(dirname(pinPath), [basename(pinPath)]).length === 0) {
      return { action: 'absent', removed: [] };
    }
    if (force !== true) requireNoAgent(pinPath);
    if (dryRun === true) return { action: 'unloaded', removed: pins };
    for (const pin of pins) rmSync(pin);
    for (const part of ['links', 'maps', 'agent', '.']) removeIfEmpty(join(pinPath, part));
    return { action: 'unloaded', removed: pins };
  });
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    // Something that is not ours is in it: it stays, and so does its directory.
    if (!['ENOENT', 'ENOTEMPTY'].includes(errnoOf(error) ?? '')) throw error;
  }
}
