// The parts of a bug report that look through the addon: maps, pins, and the doctor, who
// looks at both.
import { readField } from '../dataplane/control.js';
import { openPlane } from '../dataplane/pins.js';
import type { Plane } from '../dataplane/plane.js';
import { Snapshot } from '../dataplane/snapshot.js';
import { examine, judge } from '../doctor/doctor.js';
import { probe, type ProbeOptions } from '../doctor/probe.js';
import { json, type Gathering } from './gathering.js';

/** Flows of a busy node are many and alike. */
const mostFlows = 10_000;

/** What was seen, and what the checks make of it: one look for both. */
export async function addDoctor(
  gathering: Gathering,
  options: Pick<ProbeOptions, 'pinPath' | 'version'>,
): Promise<void> {
  const about = 'the checks of nity doctor';
  try {
    const { pinPath, version } = options;
    const observed = await probe({ pinPath, version });
    const checks = examine(observed);
    const { ok, counts } = judge(checks, 'fail');
    const doctor = json({ schemaVersion: 1, ok, counts, checks });
    gathering.parts.push({ path: 'doctor.json', about, content: doctor });
    gathering.parts.push({
      path: 'observed.json',
      about: 'what the checks are about: privileges, kernel, mounts, pins, hooks, sensors',
      content: json(observed),
    });
  } catch (error) {
    gathering.lack('doctor.json', about, error);
  }
}

const views: Readonly<Record<string, (snapshot: Snapshot, plane: Plane) => object>> = {
  field: (_, plane) => readField(plane),
  maps: (snapshot) => ({ maps: snapshot.maps() }),
  routes: (snapshot) => ({ routes: snapshot.routes() }),
  slots: (snapshot) => ({ routes: snapshot.slots() }),
  backends: (snapshot) => ({ backends: snapshot.backends() }),
  counters: (snapshot) => ({ counters: snapshot.counters() }),
};

/** The flows of sockets may be missing from it, which is said where all that is missing is. */
async function addConntrack(gathering: Gathering, snapshot: Snapshot): Promise<void> {
  const path = 'maps/conntrack.json';
  await gathering.add(path, 'the maps as to conntrack', () => {
    const { flows, socketsMissing } = snapshot.flows();
    if (socketsMissing !== null) {
      gathering.lack(`${path}#sockets`, 'the flows of sockets', new Error(socketsMissing.cause));
    }
    return json({
      ...{ schemaVersion: 1, socketsMissing: socketsMissing?.cause ?? null },
      ...{ total: flows.length, flows: flows.slice(0, mostFlows) },
    });
  });
}

export async function addMaps(gathering: Gathering, pinPath: string): Promise<void> {
  let plane: Plane;
  try {
    plane = openPlane(pinPath);
  } catch (error) {
    gathering.lack('maps/', 'the views of nity inspect', error);
    return;
  }
  try {
    const table = readField(plane).activeTable === 'A' ? 0 : 1;
    const snapshot = new Snapshot(plane, table);
    for (const [name, view] of Object.entries(views)) {
      await gathering.add(`maps/${name}.json`, `the maps as to ${name}`, () =>
        json({ schemaVersion: 1, ...view(snapshot, plane) }),
      );
    }
    await addConntrack(gathering, snapshot);
  } catch (error) {
    gathering.lack('maps/', 'the views of nity inspect', error);
  } finally {
    plane.close();
  }
}
