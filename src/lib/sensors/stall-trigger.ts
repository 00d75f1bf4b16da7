// A stall that wakes the control loop before its tick: the kernel watches the time for us
// and says so when tasks stalled for long enough within a window. It says that there was a
// stall, not how long it was; that is for psi.ts to read.
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { watchPriority, type PriorityWatch } from '../dataplane/readiness.js';
import { errnoOf } from '../errors.js';
import type { Reading, StallResource } from '../field/signals.js';
import { missing } from './kept-file.js';

export interface StallThreshold {
  readonly resource: StallResource;
  /** Whether one task that waits is a stall, or only all of them. */
  readonly kind: 'some' | 'full';
  /** At most the window. */
  readonly stallMs: number;
  /** 500 to 10,000; without CAP_SYS_RESOURCE a multiple of 2,000, where the kernel allows it at all. */
  readonly windowMs: number;
}

export interface StallTriggerOptions extends StallThreshold {
  /** Called at most once a window. */
  readonly onStall: () => void;
  /** Called once if the trigger ends by itself, as that of a removed cgroup does. */
  readonly onGone?: () => void;
  /** Another file than the node's, such as a cgroup's cpu.pressure. */
  readonly path?: string;
}

/** What the kernel accepts (WINDOW_MIN_US and WINDOW_MAX_US, kernel/sched/psi.c). */
const shortestWindowMs = 500;
const longestWindowMs = 10_000;

export class StallTrigger {
  private closed = false;

  private constructor(
    private readonly fd: number,
    private readonly watch: PriorityWatch,
  ) {}

  /** Never throws: a kernel without triggers is a reason to go without. */
  static open(options: StallTriggerOptions): Reading<StallTrigger> {
    const { resource, kind, stallMs, windowMs, onStall, onGone } = options;
    const path = options.path ?? join('/proc/pressure', resource);
    // Also false for NaN.
    if (!(windowMs >= shortestWindowMs && windowMs <= longestWindowMs)) {
      return missing(
        `a stall window of ${windowMs} ms is not from ${shortestWindowMs} to ${longestWindowMs} ms`,
      );
    }
    if (!(stallMs > 0 && stallMs <= windowMs)) {
      return missing(`a stall of ${stallMs} ms does not fit a window of ${windowMs} ms`);
    }
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
      // The kernel overwrites the last byte with a zero.
      writeSync(fd, `${kind} ${microseconds(stallMs)} ${microseconds(windowMs)}\0`);
      return { kind: 'read', value: new StallTrigger(fd, watchPriority(fd, onStall, onGone)) };
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      return missing(describe(error, path, windowMs));
    }
  }

  /** The trigger lives as long as its descriptors do. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.watch.close();
    closeSync(this.fd);
  }
}

function microseconds(ms: number): number {
  return Math.max(1, Math.round(ms * 1000));
}

function describe(error: unknown, path: string, windowMs: number): string {
  const code = errnoOf(error) ?? 'an error without a code';
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `there is no PSI to be woken by: ${path} does not exist`;
    case 'EACCES':
    case 'EPERM':
      return `this process may not set a trigger at ${path}, which takes CAP_SYS_RESOURCE`;
    case 'EOPNOTSUPP':
    case 'ENOTSUP':
      return `${path} is switched off, and psi=1 on the kernel's command line switches it on`;
    case 'EINVAL':
      return `the kernel refuses a trigger of ${windowMs} ms at ${path}: without CAP_SYS_RESOURCE a window is a multiple of 2,000 ms`;
    case 'EBUSY':
      return `${path} has a trigger already`;
    default:
      return `a trigger cannot be set at ${path} (${code})`;
  }
}
