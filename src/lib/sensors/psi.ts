// Pressure stall information: which share of the time since the last look tasks stalled.
// The kernel's own averages over 10 s and more come too late for a control loop; the
// difference of two totals is exact. It reads no clock: time is an argument.
import {
  stallResources,
  type Reading,
  type Stall,
  type StallResource,
  type Stalls,
} from '../field/signals.js';
import { KeptFile, missing } from './kept-file.js';

/** Since the kernel started, or the cgroup was made (Documentation/accounting/psi.rst). */
export interface StallTotals {
  readonly someUs: number;
  readonly fullUs: number;
}

const total = / total=(\d+)$/;

function totalOf(lines: readonly string[], kind: 'some' | 'full'): number | undefined {
  const line = lines.find((text) => text.startsWith(`${kind} `));
  const digits = line === undefined ? undefined : total.exec(line)?.[1];
  const us = Number(digits);
  return Number.isSafeInteger(us) ? us : undefined;
}

/** The text of cpu, memory or io of /proc/pressure, or of a cgroup's *.pressure. */
export function parsePressure(text: string, resource: StallResource): Reading<StallTotals> {
  const lines = text.split('\n');
  const someUs = totalOf(lines, 'some');
  // Before 5.13 cpu has no such line: a CPU that runs a task is not stalled for everybody.
  const absent = resource === 'cpu' && !lines.some((line) => line.startsWith('full'));
  const fullUs = absent ? 0 : totalOf(lines, 'full');
  if (someUs === undefined || fullUs === undefined) {
    return missing(`the ${resource} pressure file does not have the form of PSI`);
  }
  return { kind: 'read', value: { someUs, fullUs } };
}

/** What passed between two looks at one resource. */
export class StallMeter {
  private before: { readonly atMs: number; readonly totals: StallTotals } | undefined;

  constructor(private readonly resource: StallResource) {}

  look(text: Reading<string>, nowMs: number): Reading<Stall> {
    const parsed = text.kind === 'read' ? parsePressure(text.value, this.resource) : text;
    const { before } = this;
    if (parsed.kind === 'missing') {
      // What was missing for a while may be another file when it comes back.
      this.before = undefined;
      return parsed;
    }
    const totals = parsed.value;
    const elapsedUs = before === undefined ? 0 : (nowMs - before.atMs) * 1000;
    if (before !== undefined && !(elapsedUs > 0)) {
      return missing('no time has passed since the last look');
    }
    this.before = { atMs: nowMs, totals };
    if (before === undefined) return missing('this is the first look, and a share needs two');
    const someUs = totals.someUs - before.totals.someUs;
    const fullUs = totals.fullUs - before.totals.fullUs;
    if (someUs < 0 || fullUs < 0) return missing(`the total of ${this.resource} stalls went back`);
    const share = (us: number) => Math.min(1, us / elapsedUs);
    return { kind: 'read', value: { some: share(someUs), full: share(fullUs) } };
  }
}

export type PressureFiles = Readonly<Record<StallResource, string>>;

/** The stalls of the node or of one cgroup, by its three files. */
export class StallSensor {
  private readonly files: Readonly<Record<StallResource, KeptFile>>;
  private readonly meters: Readonly<Record<StallResource, StallMeter>>;

  /** `ifAbsent` begins the sentence that says a file does not exist. */
  constructor(paths: PressureFiles, ifAbsent = 'the kernel has no PSI') {
    const file = (resource: StallResource) => new KeptFile(paths[resource], ifAbsent);
    this.files = { cpu: file('cpu'), memory: file('memory'), io: file('io') };
    this.meters = {
      cpu: new StallMeter('cpu'),
      memory: new StallMeter('memory'),
      io: new StallMeter('io'),
    };
  }

  look(nowMs: number): Stalls {
    const of = (resource: StallResource) =>
      this.meters[resource].look(this.files[resource].read(nowMs), nowMs);
    return { cpu: of('cpu'), memory: of('memory'), io: of('io') };
  }

  close(): void {
    for (const resource of stallResources) this.files[resource].close();
  }
}
