// The temporary pin directory that a load is built in, and what a load leaves there that
// does not come to its end: its links would still run.
import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { exclusively } from './pins.js';

/** What a load that did not come to its end left behind. */
export interface Leftover {
  readonly path: string;
  readonly pid: number;
}

export function stagingOf(pinPath: string): string {
  return `${pinPath}-loading-${process.pid}`;
}

export function seeLeftovers(pinPath: string): Leftover[] {
  const prefix = `${basename(pinPath)}-loading-`;
  const siblings = readdirSync(dirname(pinPath)).sort();
  return siblings.flatMap((name) => {
    const pid = Number(name.slice(prefix.length));
    if (!name.startsWith(prefix) || !Number.isInteger(pid)) return [];
    return [{ path: join(dirname(pinPath), name), pid }];
  });
}

/** What one load that was killed left; for whoever knows that it was. */
export function removeLeftover(path: string): void {
  exclusively(dirname(path), () => {
    removeTree(path);
  });
}

/** Call it while holding the lock of all loads: then every one of them was killed. */
export function removeLeftovers(pinPath: string): void {
  for (const { path } of seeLeftovers(pinPath)) removeTree(path);
}

export function removeTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) removeTree(child);
    else unlinkSync(child);
  }
  rmdirSync(path);
}
