// What is pinned and what is attached, as the kernel tells it, whole or broken: for
// whoever looks for what is wrong. It changes nothing and expects nothing to be right.
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { errnoOf, UsageError } from '../errors.js';
import {
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  cgroupId,
  cgroupPrograms,
  fileSystemType,
} from './native.js';
import { linkPin, mapPin } from './pins.js';
import { mapNames } from './plane.js';
import { objectPath, programNames } from './programs.js';

/** enum bpf_attach_type of linux/bpf.h. */
const attachTypes: Readonly<Record<(typeof programNames)[number], number>> = {
  nity_sock_release: 34,
  nity_sockops: 3,
  nity_ingress: 0,
  nity_getpeername4: 29,
  nity_getpeername6: 30,
  nity_connect4: 10,
  nity_connect6: 11,
};

export interface SeenMap {
  readonly name: string;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
}

export interface SeenLink {
  /** The program that its pin is named after. */
  readonly program: string;
  readonly programId: number;
  readonly attachType: number;
  /** 0n: it was detached, or its cgroup is gone. */
  readonly cgroupId: bigint;
  readonly tag: string | null;
  /** Null without CAP_SYS_ADMIN, as in the agent's pod. */
  readonly running: RunningProgram | null;
}

export interface RunningProgram {
  /** Whether the kernel compiled it. */
  readonly jited: boolean;
  readonly loadedBoottimeNs: bigint;
  readonly mapIds: readonly number[];
}

export interface SeenPins {
  readonly maps: readonly SeenMap[];
  readonly links: readonly SeenLink[];
  /** Pins that `load` did not make. */
  readonly foreign: readonly string[];
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function seeMap(pinPath: string, name: (typeof mapNames)[number]): SeenMap {
  const map = BpfMap.open(mapPin(pinPath, name));
  try {
    const { id, keySize, valueSize } = map.info();
    return { name, id, keySize, valueSize };
  } finally {
    map.close();
  }
}

function seeLink(pinPath: string, program: string): SeenLink {
  const link = BpfLink.open(linkPin(pinPath, program));
  try {
    const { programId, programTag, attachType, cgroupId } = link.info();
    const running = seeRunning(programId);
    return { program, programId, attachType, cgroupId, tag: programTag, running };
  } finally {
    link.close();
  }
}

function seeRunning(id: number): RunningProgram | null {
  try {
    const program = BpfProgram.byId(id);
    const { jitedBytes, loadedNs, mapIds } = program.info();
    program.close();
    return { jited: jitedBytes > 0, loadedBoottimeNs: loadedNs, mapIds };
  } catch (error) {
    if (errnoOf(error) === 'EPERM') return null;
    throw error;
  }
}

/** Null when there is nothing at all. */
export function seePins(pinPath: string): SeenPins | null {
  const maps = list(join(pinPath, 'maps'));
  const links = list(join(pinPath, 'links'));
  if (maps.length === 0 && links.length === 0) return null;
  const ours = (names: readonly string[]) => new Set<string>(names);
  const [ourMaps, ourLinks] = [ours(mapNames), ours(programNames)];
  return {
    maps: mapNames.filter((name) => maps.includes(name)).map((name) => seeMap(pinPath, name)),
    links: programNames
      .filter((name) => links.includes(name))
      .map((name) => seeLink(pinPath, name)),
    foreign: [
      ...maps.filter((name) => !ourMaps.has(name)).map((name) => `maps/${name}`),
      ...links.filter((name) => !ourLinks.has(name)).map((name) => `links/${name}`),
    ],
  };
}

export interface AttachedProgram {
  readonly name: string;
  readonly id: number;
  /** Null where the kernel does not tell it. */
  readonly tag: string | null;
}

/** What a load is about to replace; null when there is nothing, or nothing that can be read. */
export function seeAttached(pinPath: string): AttachedProgram[] | null {
  try {
    const links = seePins(pinPath)?.links ?? [];
    if (links.length === 0) return null;
    return links.map(({ program, programId, tag }) => ({ name: program, id: programId, tag }));
  } catch {
    return null;
  }
}

export interface HookProgram {
  readonly id: number;
  readonly name: string;
}

export interface Hook {
  readonly program: (typeof programNames)[number];
  /** All that run for a socket of this cgroup, in the order in which they do. */
  readonly order: readonly HookProgram[];
}

function programName(id: number): string {
  try {
    const program = BpfProgram.byId(id);
    const { name } = program.info();
    program.close();
    return name === '' ? `#${id}` : name;
  } catch (error) {
    // Gone meanwhile, or not ours to look at.
    if (['ENOENT', 'EPERM'].includes(errnoOf(error) ?? '')) return `#${id}`;
    throw error;
  }
}

/** What runs at each hook that the dataplane uses. */
export function seeHooks(cgroup: string): Hook[] {
  return programNames.map((program) => ({
    program,
    order: cgroupPrograms(cgroup, attachTypes[program], true).map((id) => ({
      id,
      name: programName(id),
    })),
  }));
}

export interface BelowHook {
  readonly cgroup: string;
  readonly program: string;
}

/** Cgroups looked at for programs of their own; a larger tree is looked at in part. */
const mostCgroups = 2_000;

/** Programs below `cgroup` at the hooks that translate a connect: they run before those above. */
export function seeBelow(cgroup: string): BelowHook[] {
  const found: BelowHook[] = [];
  const waiting = children(cgroup);
  for (let looks = 0; looks < mostCgroups; looks++) {
    const next = waiting.shift();
    if (next === undefined) break;
    try {
      for (const hook of ['nity_connect4', 'nity_connect6'] as const) {
        for (const id of cgroupPrograms(next, attachTypes[hook], false)) {
          found.push({ cgroup: next, program: programName(id) });
        }
      }
      waiting.push(...children(next));
    } catch (error) {
      // It was removed while it was looked at.
      if (!['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) throw error;
    }
  }
  return found;
}

function children(cgroup: string): string[] {
  return readdirSync(cgroup, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(cgroup, entry.name));
}

export interface SeenBuild {
  /** The kernel's hash of each program, as it would run. */
  readonly tags: Readonly<Record<string, string>>;
  readonly maps: readonly Omit<SeenMap, 'id'>[];
}

/** Has the kernel verify this build's programs, on maps of a few entries that go again. */
export function seeBuild(object = objectPath): SeenBuild {
  const build = new BpfObject(object);
  try {
    const maps = build.maps();
    for (const { name, maxEntries } of maps) {
      // Of a ring buffer the size is in bytes, of whole pages.
      if (maxEntries > 4096) build.setMaxEntries(name, 4096);
    }
    build.load();
    const tags = programNames.map((name) => {
      const program = build.program(name);
      const { tag } = program.info();
      program.close();
      return [name, tag] as const;
    });
    return {
      tags: Object.fromEntries(tags),
      maps: maps
        .filter(({ name }) => (mapNames as readonly string[]).includes(name))
        .map(({ name, keySize, valueSize }) => ({ name, keySize, valueSize })),
    };
  } finally {
    build.close();
  }
}

/** A cgroup by its path and its identifier. */
export interface SeenPlace {
  readonly path: string;
  readonly id: bigint;
}

/** The programs attach to a cgroup v2 directory; anything else fails only when maps are made. */
export function requireCgroup(cgroup: string): void {
  let found: string;
  try {
    found = fileSystemType(cgroup);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    found = 'nothing';
  }
  if (found === 'cgroup2') return;
  throw new UsageError(
    `${cgroup} is no directory of the cgroup v2 hierarchy.`,
    'Name one with --cgroup, or leave it out for the root of the hierarchy.',
  );
}

export function seePlace(cgroup: string): SeenPlace {
  requireCgroup(cgroup);
  return { path: cgroup, id: cgroupId(cgroup) };
}

/** The paths of the cgroups of these identifiers, as far as they are found below `root`. */
export function findCgroups(root: string, ids: ReadonlySet<bigint>): Map<bigint, string> {
  const found = new Map<bigint, string>();
  const waiting = [root];
  for (let looks = 0; looks < mostCgroups && found.size < ids.size; looks++) {
    const next = waiting.shift();
    if (next === undefined) break;
    try {
      const id = cgroupId(next);
      if (ids.has(id)) found.set(id, next);
      waiting.push(...children(next));
    } catch (error) {
      if (!['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) throw error;
    }
  }
  return found;
}

/** The file system that holds `path`, or would; "nothing" if not even its parents exist. */
export function seeFileSystem(path: string): 'bpf' | 'cgroup2' | 'other' | 'nothing' {
  for (let at = path; ; at = dirname(at)) {
    try {
      return fileSystemType(at);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      if (dirname(at) === at) return 'nothing';
    }
  }
}
