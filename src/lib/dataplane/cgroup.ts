// Finds the cgroup v2 hierarchy: on a hybrid host it is not at /sys/fs/cgroup, and in a
// cgroup namespace what is mounted there begins at some cgroup of the node's.
import { readFileSync, statSync } from 'node:fs';

import { KernelError } from '../errors.js';

const octal = /\\([0-7]{3})/g;
/** kernfs numbers the root of a hierarchy 1; a cgroup below it has another number. */
const rootInode = 1;

/** Mount points of a file system type in the text of /proc/self/mountinfo (proc(5)). */
export function mountsOf(mountinfo: string, fileSystem: string): string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ');
    const mountPoint = before?.split(' ')[4];
    if (mountPoint === undefined || after?.split(' ')[0] !== fileSystem) return [];
    return [mountPoint.replace(octal, (_, code: string) => String.fromCharCode(parseInt(code, 8)))];
  });
}

function isRoot(mountPoint: string): boolean {
  return statSync(mountPoint, { throwIfNoEntry: false })?.ino === rootInode;
}

/** The root of the cgroup v2 hierarchy: every process of the node is below it. */
export function cgroupRoot(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): string {
  const mounts = mountsOf(mountinfo, 'cgroup2');
  // In a container, its own comes first; the node's is there if the pod mounts it.
  const root = mounts.find(isRoot) ?? mounts[0];
  if (root === undefined) {
    throw new KernelError(
      'No cgroup v2 hierarchy is mounted, and the dataplane attaches to one.',
      'Mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified`, or name one with --cgroup.',
    );
  }
  return root;
}
