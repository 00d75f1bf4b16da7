// The node's sensors as one: its stalls, what it can run out of, and the stalls of the
// cgroups that are named. It is read at every tick, so each file stays open.
import { join } from 'node:path';

import type { NodeSignals, Reading, StallResource, Stalls } from '../field/signals.js';
import { pressureFolder, readHierarchies, type Hierarchies } from './cgroups.js';
import { missing, retryMs } from './kept-file.js';
import { LimitSensors } from './limits.js';
import { StallSensor, type PressureFiles } from './psi.js';

/** More cgroups than the pods that Kubernetes places on a large node; each holds three files open. */
export const mostCgroups = 256;
/** A look at one costs some 15 µs: where there are more, they take turns, and the time of a read stays bounded. */
export const looksPerRead = 8;

export interface NodeSensorsOptions {
  /** Holds proc/ and what is mounted; / but for tests. */
  readonly root?: string;
  /** Paths of cgroups, as the services name them. */
  readonly cgroups?: Iterable<string>;
}

interface Watched {
  readonly cgroup: string;
  /** Undefined until the place of the cgroup's files is known. */
  sensor: StallSensor | undefined;
  /** As they were at its last look. */
  stalls: Stalls;
}

function noStalls(why: string): Stalls {
  return { cpu: missing(why), memory: missing(why), io: missing(why) };
}

export class NodeSensors {
  private readonly root: string;
  private readonly stalls: StallSensor;
  private readonly limits: LimitSensors;
  private watched: readonly Watched[] = [];
  private beyond: readonly string[] = [];
  private turn = 0;
  private hierarchies: { readonly found: Reading<Hierarchies>; readonly atMs: number } | undefined;

  constructor({ root = '/', cgroups = [] }: NodeSensorsOptions = {}) {
    this.root = root;
    this.stalls = new StallSensor(this.pressure('/proc/pressure'));
    this.limits = new LimitSensors(root);
    this.watch(cgroups);
  }

  /** From now on these cgroups; those that were watched before go on without a gap. */
  watch(cgroups: Iterable<string>): void {
    const named = [...new Set(cgroups)];
    const before = new Map(this.watched.map((one) => [one.cgroup, one]));
    this.watched = named.slice(0, mostCgroups).map((cgroup): Watched => {
      const known = before.get(cgroup);
      before.delete(cgroup);
      return known ?? { cgroup, sensor: undefined, stalls: noStalls('it was not looked at yet') };
    });
    this.beyond = named.slice(mostCgroups);
    for (const { sensor } of before.values()) sensor?.close();
  }

  /**
   * `nowMs` is of a monotonic clock: shares are of the time since the last look. `mostOpen`
   * is the count of open connections of the backend that has the most.
   */
  read(nowMs: number, loopLagMs: number, mostOpen = 0): NodeSignals {
    return {
      stalls: this.stalls.look(nowMs),
      usage: this.limits.read(nowMs, mostOpen),
      cgroups: this.lookAtCgroups(nowMs),
      loopLagMs,
    };
  }

  /** Closes every file; another read() would open them again. */
  close(): void {
    this.stalls.close();
    this.limits.close();
    for (const { sensor } of this.watched) sensor?.close();
  }

  private lookAtCgroups(nowMs: number): ReadonlyMap<string, Stalls> {
    const { watched } = this;
    for (let looks = Math.min(looksPerRead, watched.length); looks > 0; looks--) {
      this.turn = (this.turn + 1) % watched.length;
      const one = watched[this.turn];
      if (one !== undefined) one.stalls = this.look(one, nowMs);
    }
    const seen = new Map(watched.map(({ cgroup, stalls }) => [cgroup, stalls]));
    for (const cgroup of this.beyond) {
      seen.set(cgroup, noStalls(`only ${mostCgroups} cgroups are watched`));
    }
    return seen;
  }

  private look(one: Watched, nowMs: number): Stalls {
    if (one.sensor === undefined) {
      const found = this.hierarchiesAt(nowMs);
      const at = found.kind === 'read' ? pressureFolder(found.value, one.cgroup) : found;
      if (at.kind === 'missing') return noStalls(at.why);
      one.sensor = new StallSensor(
        this.pressure(at.value, '.pressure'),
        'there is no such cgroup, or the kernel has no PSI',
      );
    }
    return one.sensor.look(nowMs);
  }

  /** Asked again every 10 s while a cgroup has no place yet; a hierarchy stays where it is. */
  private hierarchiesAt(nowMs: number): Reading<Hierarchies> {
    if (this.hierarchies === undefined || nowMs - this.hierarchies.atMs >= retryMs) {
      this.hierarchies = { found: readHierarchies(this.root), atMs: nowMs };
    }
    return this.hierarchies.found;
  }

  private pressure(folder: string, ending = ''): PressureFiles {
    const file = (resource: StallResource) => join(this.root, folder, `${resource}${ending}`);
    return { cpu: file('cpu'), memory: file('memory'), io: file('io') };
  }
}
