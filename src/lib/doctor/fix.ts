// The faults that can be mended without harm to anybody: what is not there is put
// there, and what a dead load left is taken away. Nothing that serves is touched.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

import { removeLeftover } from '../dataplane/staging.js';
import type { Check } from './check.js';
import type { Observed } from './observed.js';

export interface Fixed {
  readonly id: Check['id'];
  readonly did: string;
}

const bpffs = '/sys/fs/bpf';

interface Fix {
  readonly id: Check['id'];
  /** What it did; null when it is not its case after all. */
  readonly mend: (observed: Observed) => string | null;
}

const fixes: readonly Fix[] = [
  {
    id: 'NITY030',
    mend: ({ mounts }) => {
      // Only at its usual place: a pin path elsewhere is a slip, not a missing mount.
      if (mounts.bpffs.length > 0 || !mounts.pinPath.startsWith(`${bpffs}/`)) return null;
      mkdirSync(bpffs, { recursive: true });
      execFileSync('mount', ['-t', 'bpf', 'bpf', bpffs]);
      return `mounted a BPF file system at ${bpffs}`;
    },
  },
  {
    id: 'NITY033',
    mend: ({ leftovers }) => {
      const dead = leftovers.filter(({ alive }) => !alive).map(({ path }) => path);
      for (const path of dead) removeLeftover(path);
      return dead.length === 0 ? null : `removed ${dead.join(', ')}`;
    },
  },
];

/** Mends what can be mended of the checks that failed. */
export function fix(checks: readonly Check[], observed: Observed): Fixed[] {
  const failed = new Set(checks.filter(({ status }) => status === 'fail').map(({ id }) => id));
  return fixes.flatMap(({ id, mend }) => {
    const did = failed.has(id) ? mend(observed) : null;
    return did === null ? [] : [{ id, did }];
  });
}
