// Loads the dataplane, or has it upgraded in place. A load is all or nothing: it is built
// in a temporary pin directory and renamed into place.
import { mkdirSync, renameSync, rmdirSync } from 'node:fs';
import { release } from 'node:os';
import { dirname, join } from 'node:path';

import { errnoOf, KernelError, UnsafeError } from '../errors.js';
import { Limit } from './abi.js';
import { requireCgroup } from './inspection.js';
import { initialise } from './initialise.js';
import { newerThan } from './kernel-release.js';
import {
  attach,
  explainLoad,
  openObject,
  reportPrograms,
  type LoadOptions,
  type LoadReport,
  type MapSizes,
} from './loading.js';
import { libbpfVersion, type BpfObject } from './native.js';
import { exclusively, isLoaded, mapPin, requireBpffs } from './pins.js';
import { describeSchema, mapNames, schemaWord, type MapName } from './plane.js';
import { objectPath, programsFor, type ProgramName } from './programs.js';
import { removeLeftovers, removeTree, stagingOf } from './staging.js';
import { upgrade } from './upgrade.js';

const sized: Readonly<Record<keyof MapSizes, readonly MapName[]>> = {
  addresses: ['routes'],
  routes: ['rt_control', 'route_names'],
  slots: ['slot_table_a', 'slot_table_b', 'fallback'],
  backends: ['backends', 'backend_live', 'backend_counters', 'backend_clients'],
};

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

/** bpf_set_retval in connect hooks came with 5.18; without it a refusal would be EPERM. */
function requireKernel(): void {
  if (newerThan(release(), 5, 18)) return;
  throw new KernelError(
    `Kernel ${release()} cannot refuse a connect with ECONNREFUSED from a cgroup program.`,
    'Run a kernel 5.18 or newer.',
  );
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
  const staging = stagingOf(pinPath);
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
