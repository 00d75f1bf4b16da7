// The ring written out: whole files only, readable by their owner alone, and never
// more than a few of them.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { traceSuffix } from './trace.js';

const partialSuffix = '.partial';

/** Beside the agent's sockets; NITY_RUN_DIR moves both. */
export function dumpDirectory(): string {
  return join(process.env['NITY_RUN_DIR'] ?? '/run/nity', 'traces');
}

/** As in 20261123T204151.123Z: names sort by time. */
export function stampOf(wallMs: number): string {
  return new Date(wallMs).toISOString().replaceAll(/[-:]/g, '');
}

function nameOf(wallMs: number, why: string): string {
  return `nity-${stampOf(wallMs)}-${why}-${process.pid}${traceSuffix}`;
}

/** The oldest of those that are too many once one more is there. */
function surplus(names: readonly string[], most: number): string[] {
  const dumps = names.filter((name) => name.startsWith('nity-') && name.endsWith(traceSuffix));
  return dumps.sort().slice(0, Math.max(0, dumps.length - most + 1));
}

export async function writeDump(
  directory: string,
  most: number,
  why: string,
  parts: readonly Buffer[],
): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of surplus(await readdir(directory), most)) {
    await rm(join(directory, name), { force: true });
  }
  const path = join(directory, nameOf(Date.now(), why));
  try {
    await writeFile(path + partialSuffix, parts, { mode: 0o600, flush: true });
  } catch (error) {
    await rm(path + partialSuffix, { force: true });
    throw error;
  }
  await rename(path + partialSuffix, path);
  return path;
}

/** The same, for a process that has no next moment. */
export function writeDumpNow(
  directory: string,
  most: number,
  why: string,
  parts: readonly Buffer[],
): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const name of surplus(readdirSync(directory), most)) {
    rmSync(join(directory, name), { force: true });
  }
  const path = join(directory, nameOf(Date.now(), why));
  const file = openSync(path + partialSuffix, 'w', 0o600);
  try {
    for (const part of parts) writeWhole(file, part);
    fsyncSync(file);
  } catch (error) {
    rmSync(path + partialSuffix, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  renameSync(path + partialSuffix, path);
  return path;
}

export function writeWhole(file: number, bytes: Buffer, position: number | null = null): void {
  for (let done = 0; done < bytes.length;) {
    const at = position === null ? null : position + done;
    done += writeSync(file, bytes, done, bytes.length - done, at);
  }
}
