// Loads the dataplane, or upgrades it in place. A load is all or nothing: it is
// built in a temporary pin directory and renamed into place; an upgrade replaces
// programs through their links, so no connect in between is left untranslated.
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, unlinkSync } from 'node:fs';
import { release } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Knobs } from '../config/knobs.js';
import {
  errnoOf,
  KernelError,
  NityError,
  SchemaError,
  UnsafeError,
  UsageError,
} from '../errors.js';
import { Limit } from './abi.js';
import { initialise, latencyCode, type LatencySource } from './initialise.js';
import {
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  cgroupId,
  fileSystemType,
  libbpfVersion,
} from './native.js';
import { exclusively, isLoaded, linkPin, mapPin, openPlane, requireBpffs } from './pins.js';
import { describeSchema, mapNames, mapsOf, schemaWord, type MapName, type Plane } from './plane.js';
import { lacking, privilegeError } from './privilege.js';

const build = new URL('../../../bpf/build/', import.meta.url);
export const objectPath = fileURLToPath(new URL('nity.bpf.o', build));
export const socketsObjectPath = fileURLToPath(new URL('sockets.bpf.o', build));

/**
 * The programs, in the order of attaching: those that keep the books before
 * those that open flows. Detaching goes the other way.
 */
export const programNames = [
  'nity_sock_release',
  'nity_sockops',
  'nity_ingress',
  'nity_getpeername4',
  'nity_getpeername6',
  'nity_connect4',
  'nity_connect6',
] as const;
type ProgramName = (typeof programNames)[number];

/** Each packet in to the cgroup runs nity_ingress, so it is attached only where it is wanted. */
function programsFor(latency: LatencySource): readonly ProgramName[] {
  return latency === 'first-byte'
    ? programNames
    : programNames.filter((name) => name !== 'nity_ingress');
}

/** Entries of the maps whose size may be chosen; missing ones take the contract's default. */
export interface MapSizes {
  readonly addresses?: number;
  readonly routes?: number;
  readonly slots?: number;
  readonly backends?: number;
}

export interface LoadOptions {
  readonly pinPath: string;
  /** A directory of the cgroup v2 hierarchy: the programs see the sockets made below it. */
  readonly cgroup: string;
  readonly knobs: Knobs;
  readonly sizes?: MapSizes;
  readonly object?: string;
  /** Without it, what is loaded stays as it is, and first-byte for a fresh load. */
  readonly latency?: LatencySource;
  /** Let the kernel verify everything, and change nothing. */
  readonly dryRun?: boolean;
}

export interface ProgramReport {
  readonly name: string;
  readonly id: number;
  readonly tag: string;
  /** Instructions the verifier walked through: the bound on the cost of a decision. */
  readonly verifiedInstructions: number;
}

export interface LoadReport {
  readonly action: 'loaded' | 'upgraded' | 'unchanged';
  readonly schema: string;
  readonly latency: LatencySource;
  /** The libbpf that did it. */
  readonly libbpf: string;
  readonly programs: readonly ProgramReport[];
}

const sized: Readonly<Record<keyof MapSizes, readonly MapName[]>> = {
  addresses: ['routes'],
  routes: ['rt_control', 'route_names'],
  slots: ['slot_table_a', 'slot_table_b', 'fallback'],
  backends: ['backends', 'backend_live', 'backend_counters'],
};

/** bpf_set_retval in connect hooks came with 5.18; without it a refusal would be EPERM. */
function requireKernel(): void {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major > 5 || (major === 5 && minor >= 18)) return;
  throw new KernelError(
    `Kernel ${release()} cannot refuse a connect with ECONNREFUSED from a cgroup program.`,
    'Run a kernel 5.18 or newer.',
  );
}

/** The programs attach to a cgroup v2 directory; anything else fails only when maps are made. */
function requireCgroup(cgroup: string): void {
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

function explainLoad(error: unknown, path: string): unknown {
  if (error instanceof NityError) return error;
  const code = errnoOf(error);
  const denied = code === 'EPERM' || code === 'EACCES';
  // The verifier answers EACCES too, and says so in its log.
  const log = error instanceof Error && 'log' in error ? String(error.log) : '';
  const judged = log.includes('processed ');
  // Without CAP_PERFMON it answers EINVAL to programs of more than one function.
  if ((denied && !judged) || lacking().length > 0) {
    return privilegeError('loading BPF programs', error);
  }
  return new KernelError(
    `The kernel did not load ${path}: ${error instanceof Error ? error.message : String(error)}.`,
    'Run it again with DEBUG=1 for the log of libbpf and the verifier.',
    error,
  );
}

function openObject(options: LoadOptions): BpfObject {
  const path = options.object ?? objectPath;
  try {
    return new BpfObject(path);
  } catch (error) {
    throw explainLoad(error, path);
  }
}

function reportPrograms(object: BpfObject, latency: LatencySource): ProgramReport[] {
  return programsFor(latency).map((name) => {
    const { id, tag, verifiedInstructions } = object.program(name).info();
    return { name, id, tag, verifiedInstructions };
  });
}

function removeTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) removeTree(child);
    else unlinkSync(child);
  }
  rmdirSync(path);
}

/** What one load that was killed left; for whoever knows that it was. */
export function removeLeftover(path: string): void {
  exclusively(dirname(path), () => {
    removeTree(path);
  });
}

/** What a load that was killed half-way left: its links would still run. */
function removeLeftovers(pinPath: string): void {
  const prefix = `${basename(pinPath)}-loading-`;
  const parent = dirname(pinPath);
  for (const name of readdirSync(parent)) {
    if (name.startsWith(prefix)) removeTree(join(parent, name));
  }
}

function loadFresh(options: LoadOptions): LoadReport {
  const { pinPath, cgroup, knobs, latency = 'first-byte' } = options;
  const object = openObject(options);
  try {
    for (const [key, maps] of Object.entries(sized)) {
      const entries = options.sizes?.[key as keyof MapSizes];
      if (entries === undefined) continue;
      const count = key === 'slots' ? Math.ceil(entries / Limit.slotsPerPage) : entries;
      for (const map of maps) object.setMaxEntries(map, count);
    }
    object.load();
    const report = {
      action: 'loaded',
      schema: describeSchema(schemaWord),
      latency,
      libbpf: libbpfVersion(),
      programs: reportPrograms(object, latency),
    } as const;
    if (options.dryRun !== true) {
      initialise(object.map('field_state').mmap(), knobs, latency);
      publish(object, pinPath, cgroup, programsFor(latency));
    }
    return report;
  } catch (error) {
    throw explainLoad(error, options.object ?? objectPath);
  } finally {
    object.close();
  }
}

/** Pins maps and links in a temporary directory and renames it into place. */
function publish(
  object: BpfObject,
  pinPath: string,
  cgroup: string,
  programs: readonly ProgramName[],
): void {
  const staging = `${pinPath}-loading-${process.pid}`;
  mkdirSync(staging, { mode: 0o700 });
  try {
    for (const part of ['maps', 'links', 'agent']) mkdirSync(join(staging, part), { mode: 0o700 });
    for (const map of mapNames) object.map(map).pin(mapPin(staging, map));
    for (const name of programs) attach(object, name, cgroup, staging);
    removeEmpty(pinPath);
    renameSync(staging, pinPath);
  } catch (error) {
    removeTree(staging);
    throw error;
  }
}

function attach(object: BpfObject, name: ProgramName, cgroup: string, directory: string): void {
  const link = object.program(name).attachCgroup(cgroup);
  link.pin(linkPin(directory, name));
  link.close();
}

/** rename(2) replaces nothing on bpffs; a directory without pins is in nobody's way. */
function removeEmpty(pinPath: string): void {
  try {
    rmdirSync(pinPath);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT') return;
    throw new UnsafeError(
      `${pinPath} exists and holds pins that are not a whole dataplane.`,
      `Look at it with \`bpftool\`, remove it with \`nity unload --force\`, and load again.`,
      error,
    );
  }
}

interface Attached {
  readonly name: ProgramName;
  readonly link: BpfLink;
  readonly programId: number;
  readonly programTag: string | null;
}

/** The links that are pinned; a program that an older build did not have is missing. */
function attachedPrograms(pinPath: string): Attached[] {
  return programNames.flatMap((name) => {
    try {
      const link = BpfLink.open(linkPin(pinPath, name));
      const { programId, programTag } = link.info();
      return [{ name, link, programId, programTag }];
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  });
}

function requireSameCgroup(attached: readonly Attached[], options: LoadOptions): void {
  const wanted = cgroupId(options.cgroup);
  if (attached.every(({ link }) => link.info().cgroupId === wanted)) return;
  throw new UnsafeError(
    `The dataplane at ${options.pinPath} is attached to another cgroup than ${options.cgroup}.`,
    'Run `nity unload` first, or name the cgroup it is attached to with --cgroup.',
  );
}

/** A pinned map may only be reused by programs that were built for its shape. */
function reuseMaps(object: BpfObject, pinPath: string, there: readonly MapName[]): void {
  const built = new Map(object.maps().map((map) => [map.name, map]));
  for (const name of there) {
    const pinned = BpfMap.open(mapPin(pinPath, name));
    const { keySize, valueSize } = pinned.info();
    const wanted = built.get(name);
    if (wanted?.keySize !== keySize || wanted.valueSize !== valueSize) {
      throw new SchemaError(
        `The pinned map ${name} has another layout than this build's.`,
        'Run `nity unload`, then `nity load`: connects are served by the cluster in between.',
      );
    }
    object.reuseMap(name, pinned);
    pinned.close();
  }
}

/** Maps that an older minor did not have; an upgrade that failed may have left their pins. */
function pinNewMaps(object: BpfObject, pinPath: string, there: readonly MapName[]): void {
  for (const name of mapNames.filter((each) => !there.includes(each))) {
    rmSync(mapPin(pinPath, name), { force: true });
    object.map(name).pin(mapPin(pinPath, name));
  }
}

/** Replaces each link's program; if one cannot be, those already replaced are put back. */
function replacePrograms(object: BpfObject, attached: readonly Attached[]): void {
  const replaced: Attached[] = [];
  try {
    for (const one of attached) {
      one.link.update(object.program(one.name));
      replaced.push(one);
    }
  } catch (error) {
    putBack(replaced);
    throw error;
  }
}

/** Without CAP_SYS_ADMIN what was replaced stays: both builds are made for these maps. */
function putBack(replaced: readonly Attached[]): void {
  try {
    for (const { link, programId } of replaced) link.update(BpfProgram.byId(programId));
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') throw error;
  }
}

function upgrade(options: LoadOptions): LoadReport {
  const { pinPath, cgroup } = options;
  // Opening the plane refuses another major schema.
  const plane = openPlane(pinPath);
  const attached = attachedPrograms(pinPath);
  let object: BpfObject | undefined;
  try {
    requireSameCgroup(attached, options);
    const latency = options.latency ?? loadedLatency(plane);
    const wanted = programsFor(latency);
    const made = { schema: describeSchema(schemaWord), latency, libbpf: libbpfVersion() };
    object = openObject(options);
    const there = mapsOf(plane.fieldState.get(0, 'schema'));
    reuseMaps(object, pinPath, there);
    object.load();
    const programs = reportPrograms(object, latency);
    // The tags are the kernel's hash of the programs as they run.
    const tags = new Map<string, string | null>(
      attached.map(({ name, programTag }) => [name, programTag]),
    );
    if (
      attached.length === wanted.length &&
      programs.every(({ name, tag }) => tags.get(name) === tag)
    ) {
      return { action: 'unchanged', ...made, programs: running(programs, attached) };
    }
    if (options.dryRun !== true) {
      const kept = attached.filter(({ name }) => wanted.includes(name));
      pinNewMaps(object, pinPath, there);
      replacePrograms(object, kept);
      for (const name of wanted) {
        if (!tags.has(name)) attach(object, name, cgroup, pinPath);
      }
      plane.fieldState.write(0, { latency: latencyCode(latency), schema: schemaWord });
      for (const { name } of attached) {
        if (!wanted.includes(name)) unlinkSync(linkPin(pinPath, name));
      }
    }
    return { action: 'upgraded', ...made, programs };
  } catch (error) {
    throw explainLoad(error, options.object ?? objectPath);
  } finally {
    object?.close();
    for (const { link } of attached) link.close();
    plane.close();
  }
}

function loadedLatency(plane: Plane): LatencySource {
  return plane.fieldState.get(0, 'latency') === latencyCode('connect') ? 'connect' : 'first-byte';
}

/** Programs of the same tags, by the numbers of those that run. */
function running(same: readonly ProgramReport[], attached: readonly Attached[]): ProgramReport[] {
  const ids = new Map<string, number>(attached.map(({ name, programId }) => [name, programId]));
  return same.map((program) => ({ ...program, id: ids.get(program.name) ?? program.id }));
}

/** Loads the dataplane, or upgrades in place the one that is there. Idempotent. */
export function load(options: LoadOptions): LoadReport {
  requireKernel();
  requireBpffs(options.pinPath);
  requireCgroup(options.cgroup);
  return exclusively(dirname(options.pinPath), () => {
    removeLeftovers(options.pinPath);
    return isLoaded(options.pinPath) ? upgrade(options) : loadFresh(options);
  });
}
