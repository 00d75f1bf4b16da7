// A tar.gz of files that exist only in memory: nothing that has still to be masked ever
// lies on a disk.
import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

import { errnoOf, InputError } from '../errors.js';

export interface ArchiveFile {
  readonly path: string;
  readonly bytes: Buffer;
}

const ownerOnly = 0o600;

/** All files go below one directory, so that unpacking two archives mixes nothing. */
export async function writeArchive(
  to: Writable,
  directory: string,
  files: readonly ArchiveFile[],
  at: Date,
): Promise<void> {
  const archive = pack();
  for (const { path, bytes } of files) {
    archive.entry({ name: `${directory}/${path}`, mode: ownerOnly, mtime: at }, bytes);
  }
  archive.finalize();
  await pipeline(archive, createGzip(), to);
}

/** A new file that only its owner may read; one that is there is left alone. */
export async function newArchiveFile(path: string): Promise<Writable> {
  try {
    const file = await open(path, 'wx', ownerOnly);
    return file.createWriteStream();
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EEXIST') {
      throw new InputError(
        `${path} is there already, and is left as it was.`,
        'Name another file with -o.',
        error,
      );
    }
    throw new InputError(
      `The archive ${path} cannot be made: ${code ?? String(error)}.`,
      'Name a file in a directory that you may write to with -o.',
      error,
    );
  }
}
