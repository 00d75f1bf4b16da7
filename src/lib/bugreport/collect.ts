// What a bug report consists of: each part by itself, so that one that cannot be had
// takes no other with it. It changes nothing on the node.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { arch, cpus, freemem, loadavg, tmpdir, totalmem, uptime, version as build } from 'node:os';
import { basename, join } from 'node:path';

import { askAgent, askTicks } from '../agent/report.js';
import { readActions } from '../audit/operator-log.js';
import { effectiveKnobs, type KnobSources } from '../config/load.js';
import { readField } from '../dataplane/control.js';
import { socketsObjectPath } from '../dataplane/loader.js';
import { openPlane } from '../dataplane/pins.js';
import type { Plane } from '../dataplane/plane.js';
import { Snapshot } from '../dataplane/snapshot.js';
import { examine, judge } from '../doctor/doctor.js';
import { probe } from '../doctor/probe.js';
import { NoAgentError } from '../errors.js';
import { dumpDirectory } from '../recorder/dumps.js';
import { documentOf, reportOf } from '../recorder/report.js';
import { replay } from '../recorder/replay.js';
import { Summary } from '../recorder/summary.js';
import { openTrace, traceSuffix } from '../recorder/trace.js';
import { versionsHere } from '../versions.js';
import { kernelLog } from './kernel-log.js';

export interface CollectOptions {
  readonly pinPath: string;
  readonly auditLog: string;
  readonly knobs: KnobSources;
  /** The variables that nity reads, as far as they are set. */
  readonly settings: Readonly<Record<string, string>>;
  /** Of this nity. */
  readonly version: string;
  /** Traces are for machines and cannot be masked: what a replay says of them goes instead. */
  readonly traces: 'whole' | 'replayed';
}

export type Content =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'lines'; readonly lines: readonly string[] }
  | { readonly kind: 'binary'; readonly bytes: Buffer };

export interface Part {
  readonly path: string;
  readonly about: string;
  readonly content: Content;
}

export interface MissingPart {
  readonly path: string;
  readonly about: string;
  readonly why: string;
}

export interface Collected {
  readonly parts: readonly Part[];
  readonly missing: readonly MissingPart[];
}

/** Flows of a busy node are many and alike. */
const mostFlows = 10_000;
const mostActions = 500;
/** Of traces from the disk: the newest, as long as there is room. */
const mostTraceFiles = 2;
const mostTraceBytes = 64 << 20;

/** Reads one part; a part that is many gives each its own name. */
type Reading = () => Content | Promise<Content>;

class Gathering implements Collected {
  readonly parts: Part[] = [];
  readonly missing: MissingPart[] = [];

  async add(path: string, about: string, read: Reading): Promise<void> {
    try {
      this.parts.push({ path, about, content: await read() });
    } catch (error) {
      this.lack(path, about, error);
    }
  }

  lack(path: string, about: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.missing.push({ path, about, why });
  }
}

const json = (value: unknown): Content => ({ kind: 'json', value });

export async function collect(options: CollectOptions): Promise<Collected> {
  const { pinPath, auditLog, knobs, settings, version } = options;
  const gathering = new Gathering();
  await gathering.add('versions.json', 'nity, its build, schema, libbpf, kernel, Node', async () =>
    json(await versionsHere(version)),
  );
  await gathering.add('machine.json', 'processors, memory, load, distribution', () =>
    json(describeMachine()),
  );
  await gathering.add('knobs.json', 'each knob and who set it, as this command sees it', () =>
    json({ ...effectiveKnobs(knobs), settings }),
  );
  await addDoctor(gathering, options);
  await addMaps(gathering, pinPath);
  await gathering.add('agent.json', 'what the agent explains of each route, and its knobs', () =>
    agentReport(pinPath),
  );
  await addTraces(gathering, options);
  await gathering.add('audit.json', 'what operators changed, when and why', () =>
    json(readActions(auditLog, mostActions)),
  );
  await gathering.add('kernel-log.txt', 'what the kernel said of BPF, cgroups and memory', () => ({
    kind: 'lines',
    lines: kernelLog(),
  }));
  return gathering;
}

async function agentReport(pinPath: string): Promise<Content> {
  const report = await askAgent(pinPath);
  if (report === null) throw new NoAgentError(pinPath);
  return json(report);
}

function describeMachine(): unknown {
  const processors = cpus();
  return {
    build: build(),
    arch: arch(),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1],
    processors: processors.length,
    processor: processors[0]?.model ?? null,
    memoryBytes: totalmem(),
    memoryFreeBytes: freemem(),
    loadAverage: loadavg(),
    uptimeSeconds: uptime(),
  };
}

/** What was seen, and what the checks make of it: one look for both. */
async function addDoctor(gathering: Gathering, options: CollectOptions): Promise<void> {
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
  conntrack: (snapshot) => {
    const flows = snapshot.flows(socketsObjectPath);
    return { total: flows.length, flows: flows.slice(0, mostFlows) };
  },
};

async function addMaps(gathering: Gathering, pinPath: string): Promise<void> {
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
  } catch (error) {
    gathering.lack('maps/', 'the views of nity inspect', error);
  } finally {
    plane.close();
  }
}

async function addTraces(gathering: Gathering, options: CollectOptions): Promise<void> {
  const about = 'the last minutes of the flight recorder';
  let files: readonly { readonly name: string; readonly bytes: Buffer }[];
  try {
    files = await lastTicks(options.pinPath);
  } catch (error) {
    gathering.lack('traces/', about, error);
    return;
  }
  for (const { name, bytes } of files) {
    if (options.traces === 'whole') {
      await gathering.add(`traces/${name}`, `${about}, for nity replay`, () => ({
        kind: 'binary',
        bytes,
      }));
    } else {
      const path = `traces/${name.slice(0, -traceSuffix.length)}.json`;
      await gathering.add(path, `what nity replay says of ${about}`, () => replayed(name, bytes));
    }
  }
}

/** Of the agent, if it answers; else of the files that agents left behind. */
async function lastTicks(pinPath: string) {
  const kept = await askTicks(pinPath);
  if (kept?.kind === 'bytes') {
    return [{ name: `last-minutes${traceSuffix}`, bytes: Buffer.concat(kept.parts) }];
  }
  const directory = kept?.directory ?? dumpDirectory();
  const files = newestTraces(directory);
  if (files.length === 0) {
    throw new Error(`no agent gives any, and there is none in ${directory} of moderate size`);
  }
  return files.map((path) => ({ name: basename(path), bytes: readFileSync(path) }));
}

/** Names sort by time. */
function newestTraces(directory: string): string[] {
  const names = readdirSync(directory).filter((name) => name.endsWith(traceSuffix));
  let bytes = 0;
  return names
    .sort()
    .slice(-mostTraceFiles)
    .reverse()
    .map((name) => join(directory, name))
    .filter((path) => (bytes += statSync(path).size) <= mostTraceBytes);
}

function replayed(name: string, bytes: Buffer): Content {
  const directory = mkdtempSync(join(tmpdir(), 'nity-bugreport-'));
  try {
    const path = join(directory, name);
    writeFileSync(path, bytes, { mode: 0o600 });
    const trace = openTrace(path);
    const summary = new Summary();
    const outcome = replay(trace, {
      onTick(seen) {
        summary.see(seen);
      },
    });
    return json(documentOf(reportOf(trace, outcome, summary, {})));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
