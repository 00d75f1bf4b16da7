// What a bug report consists of: each part by itself, so that one that cannot be had
// takes no other with it. It changes nothing on the node.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { arch, cpus, freemem, loadavg, tmpdir, totalmem, uptime, version as build } from 'node:os';
import { basename, join } from 'node:path';

import { askAgent, askTicks } from '../agent/report.js';
import { readActions } from '../audit/operator-log.js';
import { effectiveKnobs, type KnobSources } from '../config/load.js';
import { NoAgentError } from '../errors.js';
import { dumpDirectory } from '../recorder/dumps.js';
import { documentOf, reportOf } from '../recorder/report.js';
import { replay } from '../recorder/replay.js';
import { Summary } from '../recorder/summary.js';
import { openTrace, traceSuffix } from '../recorder/trace.js';
import { versionsHere } from '../versions.js';
import { Gathering, json, type Collected, type Content } from './gathering.js';
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

const mostActions = 500;
/** Of traces from the disk: the newest, as long as there is room. */
const mostTraceFiles = 2;
const mostTraceBytes = 64 << 20;

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
  await addKernelPlane(gathering, options);
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

/** Where the addon does not load, neither do these; all the rest is there none the less. */
async function addKernelPlane(gathering: Gathering, options: CollectOptions): Promise<void> {
  try {
    const { addDoctor, addMaps } = await import('./kernel-plane.js');
    await addDoctor(gathering, options);
    await addMaps(gathering, options.pinPath);
  } catch (error) {
    gathering.lack('doctor.json', 'the checks of nity doctor', error);
    gathering.lack('maps/', 'the views of nity inspect', error);
  }
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
