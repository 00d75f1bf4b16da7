// Where a cgroup's files are, on a host with cgroup v2, v1 or both, and what it may use.
// A cgroup is named by its path below the root, as in /proc/PID/cgroup; what its stalls
// mean for a backend is for the control law to say.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { errnoOf } from '../errors.js';
import type { Reading, Usage } from '../field/signals.js';
import { cgroupPath } from '../routes/route-set.js';
import { KeptFile, missing } from './kept-file.js';

export interface Hierarchies {
  /** Mount point of cgroup v2, or undefined. */
  readonly unified: string | undefined;
  /** Mount points of the v1 controllers that are looked at. */
  readonly legacy: { readonly memory: string | undefined; readonly pids: string | undefined };
}

interface Mount {
  /** What of the hierarchy is seen there, from our own cgroup namespace. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** Space, tab, newline and backslash are written as octal in mountinfo (proc(5)). */
const octal = /\\([0-7]{3})/g;

function unescaped(text: string): string {
  return text.replace(octal, (_, code: string) => String.fromCharCode(parseInt(code, 8)));
}

function mountOf(line: string): Mount | undefined {
  const [before, after] = line.split(' - ', 2);
  const [, , , root, point] = before?.split(' ') ?? [];
  const [type, , options] = after?.split(' ') ?? [];
  if (root === undefined || point === undefined || type === undefined) return undefined;
  return {
    root: unescaped(root),
    point: unescaped(point),
    type,
    options: options?.split(',') ?? [],
  };
}

/**
 * How far up a mount begins: `/../..` is above the root of our cgroup namespace and so
 * nearer to the node's, and a subtree, whose paths are not those of the node, does not count.
 */
function height({ root }: Mount): number {
  if (root === '/') return 0;
  return /^(\/\.\.)+$/.test(root) ? root.length / 3 : -1;
}

/** The text of /proc/self/mountinfo. */
export function parseHierarchies(mountinfo: string): Hierarchies {
  const mounts = mountinfo.split('\n').flatMap((line) => mountOf(line) ?? []);
  const highest = (chosen: (mount: Mount) => boolean) => {
    let found: Mount | undefined;
    for (const mount of mounts) {
      if (!chosen(mount) || height(mount) < 0) continue;
      if (found === undefined || height(mount) > height(found)) found = mount;
    }
    return found?.point;
  };
  const controller = (name: string) =>
    highest(({ type, options }) => type === 'cgroup' && options.includes(name));
  return {
    unified: highest(({ type }) => type === 'cgroup2'),
    legacy: { memory: controller('memory'), pids: controller('pids') },
  };
}

/** `root` holds proc/; it is / but for tests. Reads a file that may be long: not for every tick. */
export function readHierarchies(root = '/'): Reading<Hierarchies> {
  const path = join(root, '/proc/self/mountinfo');
  try {
    return { kind: 'read', value: parseHierarchies(readFileSync(path, 'utf8')) };
  } catch (error) {
    return missing(`${path} cannot be read (${errnoOf(error) ?? 'an error without a code'})`);
  }
}

/**
 * The folder with cpu.pressure, memory.pressure and io.pressure. Only cgroup v2 has them;
 * on a hybrid host it does so without having any controller.
 */
export function pressureFolder({ unified, legacy }: Hierarchies, cgroup: string): Reading<string> {
  if (!cgroupPath.test(cgroup)) return missing(`${cgroup} is not a path of a cgroup`);
  if (unified !== undefined) return { kind: 'read', value: join(unified, cgroup) };
  return missing(
    legacy.memory === undefined && legacy.pids === undefined
      ? 'no cgroup v2 hierarchy is mounted'
      : 'only cgroup v1 is mounted, which does not tell the stalls of a cgroup',
  );
}

/** v1 has no word for "no limit" but the most that a counter holds (PAGE_COUNTER_MAX). */
const unlimitedBytes = 2 ** 60;

function amountOf(text: string): number | undefined {
  const digits = text.trim();
  return /^\d{1,20}$/.test(digits) ? Number(digits) : undefined;
}

/** The texts of memory.current and memory.max, their like of v1, or of pids. */
export function parseCgroupUsage(
  current: Reading<string>,
  max: Reading<string>,
  what: string,
): Reading<Usage> {
  if (current.kind === 'missing') return current;
  if (max.kind === 'missing') return max;
  const used = amountOf(current.value);
  const limit = max.value.trim() === 'max' ? Infinity : amountOf(max.value);
  if (used === undefined || limit === undefined) {
    return missing(`the ${what} files of the cgroup do not have the form that is known`);
  }
  if (limit >= unlimitedBytes) return missing(`the cgroup has no limit of ${what}`);
  if (limit === 0) return missing(`the cgroup is allowed no ${what} at all`);
  return { kind: 'read', value: { used, limit } };
}

type Controller = 'memory' | 'pids';
export type CgroupUsage = Readonly<Record<Controller, Reading<Usage>>>;

const fileNames = {
  unified: { memory: ['memory.current', 'memory.max'], pids: ['pids.current', 'pids.max'] },
  legacy: {
    memory: ['memory.usage_in_bytes', 'memory.limit_in_bytes'],
    pids: ['pids.current', 'pids.max'],
  },
} as const;

/** What one cgroup uses of its own limits; those of the cgroups above it may bind earlier. */
export class CgroupLimits {
  private readonly files: Readonly<Record<Controller, Reading<readonly [KeptFile, KeptFile]>>>;

  constructor(root: string, hierarchies: Hierarchies, cgroup: string) {
    const { unified, legacy } = hierarchies;
    const of = (controller: Controller): Reading<readonly [KeptFile, KeptFile]> => {
      if (!cgroupPath.test(cgroup)) return missing(`${cgroup} is not a path of a cgroup`);
      // A controller is in one hierarchy only: if v1 has it, v2 cannot.
      const mount = legacy[controller] ?? unified;
      if (mount === undefined) return missing(`no cgroup controller ${controller} is mounted`);
      const names = fileNames[legacy[controller] === undefined ? 'unified' : 'legacy'];
      const [current, max] = names[controller];
      const file = (name: string) =>
        new KeptFile(
          join(root, mount, cgroup, name),
          `there is no such cgroup, or it has no controller ${controller}`,
        );
      return { kind: 'read', value: [file(current), file(max)] };
    };
    this.files = { memory: of('memory'), pids: of('pids') };
  }

  read(nowMs: number): CgroupUsage {
    const of = (controller: Controller): Reading<Usage> => {
      const files = this.files[controller];
      if (files.kind === 'missing') return files;
      const [current, max] = files.value;
      return parseCgroupUsage(current.read(nowMs), max.read(nowMs), controller);
    };
    return { memory: of('memory'), pids: of('pids') };
  }

  close(): void {
    for (const files of Object.values(this.files)) {
      if (files.kind === 'read') for (const file of files.value) file.close();
    }
  }
}
