// An upgrade in place: the maps stay, and programs are replaced through their links, so
// that no connect in between is left untranslated.
import { rmSync, unlinkSync } from 'node:fs';

import { errnoOf, SchemaError, UnsafeError } from '../errors.js';
import { latencyCode, type LatencySource } from './initialise.js';
import {
  attach,
  explainLoad,
  openObject,
  reportPrograms,
  type LoadOptions,
  type LoadReport,
  type ProgramReport,
} from './loading.js';
import { BpfLink, BpfMap, BpfProgram, cgroupId, libbpfVersion, type BpfObject } from './native.js';
import { linkPin, mapPin, openPlane } from './pins.js';
import { describeSchema, mapNames, mapsOf, schemaWord, type MapName, type Plane } from './plane.js';
import { objectPath, programNames, programsFor, type ProgramName } from './programs.js';

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

export function upgrade(options: LoadOptions): LoadReport {
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
