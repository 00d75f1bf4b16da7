// The node's sensors as one: its stalls, what it can run out of, and the stalls of the
// cgroups that are named. It is read at every tick, so each file stays open.
import { join } from 'node:path';

import type { NodeSignals, Reading, Stalls } from '../field/signals.js';
import { pressureFiles, readHierarchies, type Hierarchies } from './cgroups.js';
import { missing, retryMs } from './kept-file.js';
import { LimitSensors } from './limits.js';
import { StallSensor } from './psi.js';

/** More cgroups than the pods that Kubernetes places on a large node; each holds three files open. */
export const mostCgroups = 256;

export interface NodeSensorsOptions {
  /** Holds proc/ and what is mounted; / but for tests. */
  readonly root?: string;
  /** Paths of cgroups, as the services name them. */
  readonly cgroups?: Iterable<string>;
}

function noStalls(why: string): Stalls {
  return { cpu: missing(why), memory: missing(why), io: missing(why) };
}

export class NodeSensors {
  private readonly root: string;
  private readonly stalls: StallSensor;
  private readonly limits: LimitSensors;
  /** Undefined until the cgroup's files are known. */
  private readonly cgroups = new Map<string, StallSensor | undefined>();
  private beyond: readonly string[] = [];
  private hierarchies: { readonly found: Reading<Hierarchies>; readonly atMs: number } | undefined;

  constructor({ root = '/', cgroups = [] }: NodeSensorsOptions = {}) {
    this.root = root;
    this.stalls = new StallSensor({
      cpu: join(root, '/proc/pressure/cpu'),
      memory: join(root, '/proc/pressure/memory'),
      io: join(root, '/proc/pressure/io'),
    });
    this.limits = new LimitSensors(root);
    this.watch(cgroups);
  }

  /** From now on these cgroups; those that were watched before go on without a gap. */
  watch(cgroups: Iterable<string>): void {
    const named = [...new Set(cgroups)];
    const kept = new Set(named.slice(0, mostCgroups));
    this.beyond = named.slice(mostCgroups);
    for (const [cgroup, sensor] of this.cgroups) {
      if (kept.has(cgroup)) continue;
      sensor?.close();
      this.cgroups.delete(cgroup);
    }
    for (const cgroup of kept) {
      if (!this.cgroups.has(cgroup)) this.cgroups.set(cgroup, undefined);
    }
  }

  /** `nowMs` is of a monotonic clock: shares are of the time since the last call. */
  read(nowMs: number, loopLagMs: number): NodeSignals {
    return {
      stalls: this.stalls.look(nowMs),
      usage: this.limits.read(nowMs),
      cgroups: this.readCgroups(nowMs),
      loopLagMs,
    };
  }

  /** Closes every file; another read() would open them again. */
  close(): void {
    this.stalls.close();
    this.limits.close();
    for (const sensor of this.cgroups.values()) sensor?.close();
  }

  private readCgroups(nowMs: number): ReadonlyMap<string, Stalls> {
    const read = new Map<string, Stalls>();
    for (const [cgroup, known] of this.cgroups) {
      let sensor = known;
      if (sensor === undefined) {
        const found = this.sensorOf(cgroup, nowMs);
        if (found.kind === 'missing') {
          read.set(cgroup, noStalls(found.why));
          continue;
        }
        sensor = found.value;
        this.cgroups.set(cgroup, sensor);
      }
      read.set(cgroup, sensor.look(nowMs));
    }
    for (const cgroup of this.beyond) {
      read.set(cgroup, noStalls(`only ${mostCgroups} cgroups are watched`));
    }
    return read;
  }

  private sensorOf(cgroup: string, nowMs: number): Reading<StallSensor> {
    const { found } = this.mounted(nowMs);
    if (found.kind === 'missing') return found;
    const files = pressureFiles(found.value, cgroup);
    if (files.kind === 'missing') return files;
    const { cpu, memory, io } = files.value;
    const sensor = new StallSensor(
      { cpu: join(this.root, cpu), memory: join(this.root, memory), io: join(this.root, io) },
      'there is no such cgroup, or the kernel has no PSI',
    );
    return { kind: 'read', value: sensor };
  }

  /** Asked again every 10 s while a cgroup has no place yet: hierarchies are mounted once. */
  private mounted(nowMs: number): { readonly found: Reading<Hierarchies> } {
    if (this.hierarchies === undefined || nowMs - this.hierarchies.atMs >= retryMs) {
      this.hierarchies = { found: readHierarchies(this.root), atMs: nowMs };
    }
    return this.hierarchies;
  }
}
