// The cgroups of ids that the kernel tells, as paths below the root of the hierarchy. By the
// id itself where that is allowed; a container mostly may not, and looks through the
// directories, which costs more and so is done rarely.
import { errnoOf } from '../errors.js';
import { cgroupRoot } from './cgroup.js';
import { findCgroups } from './inspection.js';
import { cgroupPath } from './native.js';

/** A busy node makes cgroups without end; most of them ask more than once. */
const namesMost = 4096;
const searchEveryMs = 5000;

export class CgroupNames {
  /** Undefined where no cgroup v2 is mounted. */
  private readonly root = rootOrNone();
  private readonly names = new Map<bigint, string | null>();
  private readonly unknown = new Set<bigint>();
  private byId = true;
  private searchedMs = -Infinity;

  /** Null when it is gone, or has not been found yet. */
  of(id: bigint, nowMs: number): string | null {
    const known = this.names.get(id);
    if (known !== undefined || this.root === undefined) return known ?? null;
    if (this.byId) {
      const path = this.opened(this.root, id);
      if (path !== null) return this.keep(id, this.root, path);
      this.byId = false;
    }
    this.search(this.root, id, nowMs);
    return this.names.get(id) ?? null;
  }

  /** Undefined when it is gone, null when this process may not ask. */
  private opened(root: string, id: bigint): string | null | undefined {
    try {
      return cgroupPath(root, id);
    } catch (error) {
      const code = errnoOf(error);
      // A seccomp profile may refuse the call whatever the capabilities.
      if (code !== 'EPERM' && code !== 'EACCES' && code !== 'ENOSYS') throw error;
      return null;
    }
  }

  /** One walk for all that are unknown by now; who is not found by then is gone. */
  private search(root: string, id: bigint, nowMs: number): void {
    if (this.unknown.size < namesMost) this.unknown.add(id);
    if (nowMs - this.searchedMs < searchEveryMs) return;
    this.searchedMs = nowMs;
    const found = findCgroups(root, this.unknown);
    for (const each of this.unknown) this.keep(each, root, found.get(each));
    this.unknown.clear();
  }

  private keep(id: bigint, root: string, path: string | undefined): string | null {
    const below = path?.startsWith(root) === true ? path.slice(root.length) : null;
    const name = below === '' ? '/' : below;
    if (this.names.size >= namesMost) this.names.clear();
    this.names.set(id, name);
    return name;
  }
}

function rootOrNone(): string | undefined {
  try {
    return cgroupRoot();
  } catch {
    return undefined;
  }
}
