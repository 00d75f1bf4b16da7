// Names of cgroups by the number that the kernel knows them by: the inode of their directory.
// A number that is new is looked for in the whole hierarchy, which takes milliseconds, so
// that is done once a second at most.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const againMs = 1_000;
/** A node that has more is not walked to its end. */
const mostCgroups = 50_000;

export interface CgroupName {
  /** Below the root, as in /proc/PID/cgroup. */
  readonly path: string;
  /** UID of the pod that it is of; null outside of Kubernetes. */
  readonly pod: string | null;
}

/** "kubepods-burstable-pod<uid with _>.slice" by systemd, "pod<uid>" by cgroupfs. */
const podPart =
  /(?:^|[/-])pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?:\.slice)?(?:\/|$)/;

export function podOf(path: string): string | null {
  return podPart.exec(path)?.[1]?.replaceAll('_', '-') ?? null;
}

export class CgroupNames {
  private known = new Map<bigint, string>();
  private walkedMs = -Infinity;

  constructor(private readonly root: string) {}

  /** Null for one that is not there, or not any more. */
  find(inode: bigint, nowMs: number): CgroupName | null {
    if (!this.known.has(inode) && nowMs - this.walkedMs >= againMs) {
      this.walkedMs = nowMs;
      this.walk();
    }
    const path = this.known.get(inode);
    return path === undefined ? null : { path, pod: podOf(path) };
  }

  private walk(): void {
    const found = new Map<bigint, string>();
    const waiting = ['/'];
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const directory = join(this.root, path);
      const inode = statSync(directory, { bigint: true, throwIfNoEntry: false })?.ino;
      // It may end while it is looked at.
      if (inode === undefined) continue;
      found.set(inode, path);
      if (found.size >= mostCgroups) break;
      for (const name of childrenOf(directory)) waiting.push(join(path, name));
    }
    // Those that ended keep their names: their last connects are still told.
    if (this.known.size < mostCgroups)
      for (const [ino, path] of this.known) {
        if (!found.has(ino)) found.set(ino, path);
      }
    this.known = found;
  }
}

function childrenOf(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
