// The pin directory: what is in it, who may change it, and reading it as a plane.
//
//   PIN/maps/NAME   PIN/links/NAME   PIN/agent/ (locked by the agent while it lives)
//
// The directory itself is the lock of whoever changes the node: shared to read
// a set of pins, exclusive to write.
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import {
  KernelError,
  NotLoadedError,
  UnloadedError,
  UnsafeError,
  UsageError,
  errnoOf,
} from '../errors.js';
import { BpfMap, fileSystemType, Lock, monotonicNs, type MapHandle } from './native.js';
import { Plane, type MapName, type MapSource } from './plane.js';
import { privilegeError } from './privilege.js';

export function mapPin(pinPath: string, map: MapName): string {
  return join(pinPath, 'maps', map);
}

export function linkPin(pinPath: string, program: string): string {
  return join(pinPath, 'links', program);
}

export function isLoaded(pinPath: string): boolean {
  return existsSync(mapPin(pinPath, 'field_state'));
}

/** Another text when what is pinned there was unloaded and loaded again. */
export function pinIdentity(pinPath: string): string {
  try {
    const { dev, ino } = statSync(mapPin(pinPath, 'field_state'), { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw new NotLoadedError(pinPath, error);
    throw error;
  }
}

/** The pin path must be inside a mounted bpffs; its parent tells before it exists. */
export function requireBpffs(pinPath: string): void {
  if (basename(pinPath).includes('.')) {
    // bpf_lookup() in kernel/bpf/inode.c: names with dots are reserved.
    throw new UsageError(
      `${pinPath} cannot be made: a BPF file system allows no dot in a name.`,
      'Name a pin path without dots.',
    );
  }
  let probe = pinPath;
  while (!existsSync(probe) && dirname(probe) !== probe) probe = dirname(probe);
  if (fileSystemType(probe) === 'bpf') return;
  throw new KernelError(
    `${pinPath} is not in a BPF file system.`,
    'Mount one with `mount -t bpf bpf /sys/fs/bpf`, or name another place with --pin-path.',
  );
}

class PinnedMaps implements MapSource {
  readonly kind = 'kernel';

  constructor(private readonly pinPath: string) {}

  map(name: MapName): MapHandle {
    try {
      return BpfMap.open(mapPin(this.pinPath, name));
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ENOENT') throw new NotLoadedError(this.pinPath, error);
      if (code === 'EPERM' || code === 'EACCES') throw privilegeError(`the map ${name}`, error);
      throw error;
    }
  }

  nowNs(): bigint {
    return monotonicNs();
  }

  close(): void {
    // Each map's descriptor is closed by its own handle.
  }
}

/** Opens the dataplane that is pinned at `pinPath`. */
export function openPlane(pinPath: string): Plane {
  requireReadable(pinPath);
  if (!isLoaded(pinPath)) throw new NotLoadedError(pinPath);
  return new Plane(new PinnedMaps(pinPath));
}

/** Pins are 0700: without the right to look, "not loaded" would be a guess. */
function requireReadable(pinPath: string): void {
  try {
    statSync(join(pinPath, 'maps'));
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EACCES' || code === 'EPERM') throw privilegeError(pinPath, error);
  }
}

const patienceMs = 5000;
const retryMs = 10;

/** Every change is short, so one that comes second waits for the first. */
function acquireSoon(path: string): Lock | undefined {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += retryMs) {
    const lock = Lock.tryAcquire(path, 'exclusive');
    if (lock !== undefined) return lock;
    Atomics.wait(clock, 0, 0, retryMs);
  }
  return undefined;
}

/** Runs `change` as the only one who changes what is below `path`. */
export function exclusively<T>(path: string, change: () => T): T {
  const lock = acquireSoon(path);
  if (lock === undefined) {
    throw new UnsafeError(
      `Another command has been changing what is below ${path} for ${patienceMs / 1000} s.`,
      'Find it and let it finish, then run this again.',
    );
  }
  try {
    return change();
  } finally {
    lock.release();
  }
}

/**
 * Like exclusively(), but gives up at once; undefined if another is at it. Throws when what is
 * pinned there is no more what it was as `identity` was taken.
 */
export function exclusivelyNow<T>(
  pinPath: string,
  identity: string,
  change: () => T,
): T | undefined {
  const lock = lockPins(pinPath);
  if (lock === undefined) return undefined;
  try {
    requireStillPinned(pinPath, identity);
    return change();
  } finally {
    lock.release();
  }
}

function requireStillPinned(pinPath: string, identity: string): void {
  try {
    if (pinIdentity(pinPath) === identity) return;
  } catch (error) {
    if (!(error instanceof NotLoadedError)) throw error;
  }
  throw new UnloadedError(pinPath);
}

function lockPins(pinPath: string): Lock | undefined {
  try {
    return Lock.tryAcquire(pinPath, 'exclusive');
  } catch (error) {
    throw errnoOf(error) === 'ENOENT' ? new UnloadedError(pinPath, error) : error;
  }
}

/** The agent's own lock, which the kernel releases however the agent ends. */
export function lockAsAgent(pinPath: string): Lock {
  const lock = Lock.tryAcquire(join(pinPath, 'agent'), 'exclusive');
  if (lock === undefined) {
    throw new UnsafeError(
      `Another agent already runs on ${pinPath}.`,
      'Stop it first, or give this one another --pin-path.',
    );
  }
  return lock;
}

/** Events are told once, so one listens at a time; the kernel releases the lock however he ends. */
export function lockAsListener(pinPath: string): Lock {
  const lock = Lock.tryAcquire(join(pinPath, 'maps'), 'exclusive');
  if (lock === undefined) {
    throw new UnsafeError(
      `Another trace already listens on ${pinPath}.`,
      'End it first: what the kernel tells of its decisions can be read by one alone.',
    );
  }
  return lock;
}
