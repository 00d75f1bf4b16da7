// A small file of /proc or cgroupfs that is read at every tick: opened once, then read
// from its start. It knows why a file cannot be read, not what stands in it.
import { closeSync, openSync, readSync } from 'node:fs';

import { errnoOf } from '../errors.js';
import type { Reading } from '../field/signals.js';

/** What is missing is looked for again after so long: an open() that fails costs as much as a read. */
export const retryMs = 10_000;

/** All that is read is at its file's head: the longest, /proc/meminfo, has what is wanted in three lines. */
const mostBytes = 4_096;
/** One for all: a read is synchronous, and its text is copied out of it at once. */
const shared = Buffer.allocUnsafeSlow(mostBytes);

export function missing(why: string): { readonly kind: 'missing'; readonly why: string } {
  return { kind: 'missing', why };
}

export class KeptFile {
  private fd: number | undefined;
  private failed: { readonly reading: Reading<string>; readonly retryAtMs: number } | undefined;

  constructor(
    readonly path: string,
    /** What it means that there is no such file: the beginning of a sentence. */
    private readonly ifAbsent: string,
  ) {}

  /** The text, of whose like the kernel makes a new one for each read at position 0. */
  read(nowMs: number): Reading<string> {
    if (this.failed !== undefined && nowMs < this.failed.retryAtMs) return this.failed.reading;
    try {
      this.fd ??= openSync(this.path, 'r');
      const length = readSync(this.fd, shared, 0, mostBytes, 0);
      this.failed = undefined;
      return { kind: 'read', value: shared.toString('latin1', 0, length) };
    } catch (error) {
      this.close();
      const reading = missing(this.describe(errnoOf(error) ?? 'an error without a code'));
      this.failed = { reading, retryAtMs: nowMs + retryMs };
      return reading;
    }
  }

  /** It may be read again, which opens it again. */
  close(): void {
    this.failed = undefined;
    if (this.fd === undefined) return;
    closeSync(this.fd);
    this.fd = undefined;
  }

  private describe(code: string): string {
    switch (code) {
      case 'ENOENT':
      case 'ENOTDIR':
        return `${this.ifAbsent}: ${this.path} does not exist`;
      case 'EACCES':
      case 'EPERM':
        return `this process may not read ${this.path}`;
      // psi=0 on the kernel's command line, or CONFIG_PSI_DEFAULT_DISABLED (kernel/sched/psi.c).
      case 'EOPNOTSUPP':
      case 'ENOTSUP':
        return `${this.path} is switched off, and psi=1 on the kernel's command line switches it on`;
      // What kernfs says of an open file that it removed.
      case 'ENODEV':
        return `${this.path} is gone, as when its cgroup was removed`;
      default:
        return `${this.path} cannot be read (${code})`;
    }
  }
}
