// Looks at the whole machine once, and changes nothing. What cannot be read is noted
// with its reason: the rules decide what that means.
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';

import { askAgent, askCluster } from '../agent/report.js';
import { cgroupRoot } from '../dataplane/cgroup.js';
import { Latency } from '../dataplane/abi.js';
import { readField } from '../dataplane/control.js';
import { fieldFaults, type FieldFaults } from '../dataplane/field-faults.js';
import type { RouteHandle } from '../dataplane/route-handle.js';
import {
  findCgroups,
  seeBelow,
  seeBuild,
  seeFileSystem,
  seeHooks,
  seePins,
  seePlace,
  type SeenPins,
} from '../dataplane/inspection.js';
import { openPlane } from '../dataplane/pins.js';
import type { Plane as Maps } from '../dataplane/plane.js';
import { Snapshot } from '../dataplane/snapshot.js';
import { probeSockets } from '../dataplane/sockets.js';
import { seeLeftovers } from '../dataplane/staging.js';
import { tableUse } from '../dataplane/table-use.js';
import { messageOf, NotLoadedError } from '../errors.js';
import type { Reading } from '../field/signals.js';
import type { Api } from '../kubernetes/ask.js';
import { askKubeProxy, probeCluster } from './cluster.js';
import { Machine } from './machine.js';
import type { AgentSeen, Observed, Plane, RouteSeen } from './observed.js';

export interface ProbeOptions {
  readonly pinPath: string;
  /** Where the dataplane ought to be attached; without it the root of the hierarchy. */
  readonly cgroup?: string;
  /** Of this nity. */
  readonly version: string;
  readonly machine?: Machine;
  /** Of the cluster that is named. */
  readonly api?: Api;
}

/** A live agent rewrites what it finds wrong within a tick: what is wrong longer is a fault. */
const lookAgainMs = 500;

function attempt<T>(read: () => T): Reading<T> {
  try {
    return { kind: 'read', value: read() };
  } catch (error) {
    return { kind: 'missing', why: messageOf(error) };
  }
}

export async function probe(options: ProbeOptions): Promise<Observed> {
  const { pinPath, version, machine = new Machine() } = options;
  const pins = attempt(() => seePins(pinPath));
  const cgroup = attempt(() => seePlace(options.cgroup ?? cgroupRoot()));
  const attachedTo = whereAttached(pins);
  const [attached] = attachedTo.values();
  // What runs is asked where we are attached, if that is anywhere.
  const hookedAt = attached ?? (cgroup.kind === 'read' ? cgroup.value.path : null);
  const nowhere = { kind: 'missing', why: 'there is no cgroup to look at' } as const;
  const fileSystem = attempt(() => seeFileSystem(pinPath));
  const seen = {
    version,
    privilege: machine.privilege(),
    kernel: machine.kernel(),
    mounts: machine.mounts(pinPath, fileSystem.kind === 'read' ? fileSystem.value : 'other'),
    pins,
    leftovers: leftovers(pinPath, machine),
    cgroup,
    attachedTo,
    hooks: hookedAt === null ? nowhere : attempt(() => seeHooks(hookedAt)),
    below: hookedAt === null ? nowhere : attempt(() => seeBelow(hookedAt)),
    build: attempt(seeBuild),
    sockets: seeSockets(),
    plane: await seePlane(pinPath, machine),
    // After the agent's age: what takes time in between must not make it look the older one.
    programAges: programAges(pins, machine),
    sensors: machine.sensors(performance.now()),
    cluster: options.api === undefined ? null : await probeCluster(options.api),
  };
  const follows = seen.plane.kind === 'read' && seen.plane.value?.agent.cluster != null;
  return { ...seen, kubeProxyMode: seen.cluster !== null || follows ? await askKubeProxy() : null };
}

/** By having the kernel list some, not by its version: policies are not told by versions. */
function seeSockets(): Observed['sockets'] {
  const listing = probeSockets();
  return listing.kind === 'listed' ? 'listed' : listing;
}

function whereAttached(pins: Reading<SeenPins | null>): ReadonlyMap<bigint, string> {
  const links = pins.kind === 'read' ? (pins.value?.links ?? []) : [];
  const ids = new Set(links.map(({ cgroupId }) => cgroupId).filter((id) => id !== 0n));
  if (ids.size === 0) return new Map();
  const found = attempt(() => findCgroups(cgroupRoot(), ids));
  return found.kind === 'read' ? found.value : new Map();
}

function programAges(pins: Reading<SeenPins | null>, machine: Machine): Observed['programAges'] {
  const links = pins.kind === 'read' ? (pins.value?.links ?? []) : [];
  const nowMs = machine.boottimeMs();
  return links.flatMap(({ program, running }) =>
    running === null
      ? []
      : [{ program, loadedAgoMs: nowMs - Number(running.loadedBoottimeNs) / 1e6 }],
  );
}

function leftovers(pinPath: string, machine: Machine): Observed['leftovers'] {
  const found = attempt(() => seeLeftovers(pinPath));
  if (found.kind === 'missing') return [];
  return found.value.map((one) => ({ ...one, alive: machine.processState(one.pid) !== null }));
}

async function seePlane(pinPath: string, machine: Machine): Promise<Reading<Plane | null>> {
  let maps: Maps;
  try {
    maps = openPlane(pinPath);
  } catch (error) {
    if (error instanceof NotLoadedError) return { kind: 'read', value: null };
    return { kind: 'missing', why: messageOf(error) };
  }
  try {
    return { kind: 'read', value: await readPlane(maps, pinPath, machine) };
  } catch (error) {
    return { kind: 'missing', why: messageOf(error) };
  } finally {
    maps.close();
  }
}

async function readPlane(maps: Maps, pinPath: string, machine: Machine): Promise<Plane> {
  const field = readField(maps);
  const table = field.activeTable === 'A' ? 0 : 1;
  const snapshot = new Snapshot(maps, table);
  return {
    schema: maps.fieldState.get(0, 'schema'),
    latency: maps.fieldState.get(0, 'latency') === Latency.connect ? 'connect' : 'first-byte',
    field,
    agent: await seeAgent(maps, pinPath, machine, field.agentPid),
    routes: seeRoutes(snapshot, maps.nowNs()),
    faults: await lastingFaults(maps, table),
    use: tableUse(maps),
    counters: snapshot.counters(),
  };
}

async function seeAgent(
  maps: Maps,
  pinPath: string,
  machine: Machine,
  pid: number | null,
): Promise<AgentSeen> {
  const lock = attempt(() => machine.lockedBy(join(pinPath, 'agent')));
  const seen = {
    lockedBy: lock.kind === 'read' ? lock.value : null,
    processState: pid === null ? null : machine.processState(pid),
    startedAgoMs: Number(maps.nowNs() - maps.word('agentStartedNs')) / 1e6,
  };
  // Together: one that is stopped keeps whoever asks waiting.
  const [report, cluster] = await Promise.all([
    askAgent(pinPath).catch(() => null),
    askCluster(pinPath).catch(() => null),
  ]);
  return { ...seen, report, cluster };
}

function seeRoutes(snapshot: Snapshot, nowNs: bigint): RouteSeen[] {
  const isolated = new Map<RouteHandle, number>();
  for (const { routeHandle, state } of snapshot.backends()) {
    if (state === 'isolated') isolated.set(routeHandle, (isolated.get(routeHandle) ?? 0) + 1);
  }
  return snapshot
    .routes()
    .map(({ handle, name, addresses, backends, override, enforcedPercent }) => ({
      name,
      addresses: addresses.length,
      backends,
      isolated: isolated.get(handle) ?? 0,
      enforcedPercent,
      override:
        override === undefined
          ? null
          : { mode: override.mode, remainingMs: Number(override.expiresNs - nowNs) / 1e6 },
    }));
}

async function lastingFaults(maps: Maps, table: 0 | 1): Promise<FieldFaults> {
  const faults = fieldFaults(maps, table);
  const { retired, astray, ranges, fallbacks, miscounted, addresses } = faults;
  const found = [retired, astray, ranges, fallbacks, addresses].some(({ length }) => length > 0);
  if (!found && miscounted === 0) return faults;
  await sleep(lookAgainMs);
  return fieldFaults(maps, readField(maps).activeTable === 'A' ? 0 : 1);
}
