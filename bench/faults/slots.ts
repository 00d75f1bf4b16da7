// Watches who owns which slot of the only route, in the maps themselves: what
// the agent moved, and how often it changed its mind about a backend.
import { rangeOf, tableOf, type Plane } from '../../src/lib/dataplane/plane.js';
import { nowMs } from './plan.js';

const everyMs = 50;
/** The agent's tick, which its knob sets to so much by default. */
const tickMs = 200;
const samplesMax = 10_000;

interface Sample {
  readonly atMs: number;
  /** Slots of each backend, in the order of the backends. */
  readonly counts: readonly number[];
  /** Slots of the route that had another owner in the sample before. */
  readonly changed: number;
  readonly slots: number;
}

export interface Moves {
  /** Slots that changed hands, as a part of all slots. */
  readonly shareATick: number;
  readonly greatestShareAtOnce: number;
  /** Changes of direction of a backend's count: the mean over backends. */
  readonly reversalsAMinute: number;
  /** The most that one backend changed its direction within any one minute. */
  readonly reversalsOfTheWorst: number;
}

export class SlotWatch {
  private readonly samples: Sample[] = [];
  private readonly route: number;
  private owners = new Uint32Array();
  private epoch = -1n;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly plane: Plane,
    private readonly ports: readonly number[],
  ) {
    this.route = Array.from({ length: plane.rtControl.length }, (_, i) => i).findIndex(
      (i) => i > 0 && plane.routeNames.get(i, 'name') !== '',
    );
    if (this.route < 0) throw new Error('the dataplane serves no route');
  }

  start(): void {
    this.sample();
    this.timer = setInterval(() => {
      this.sample();
    }, everyMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private sample(): void {
    const { plane } = this;
    const epoch = plane.word('epoch');
    const last = this.samples.at(-1);
    // A table that is in force is not written: the epoch says whether anything changed.
    if (epoch === this.epoch && last !== undefined) {
      this.note({ ...last, atMs: nowMs(), changed: 0 });
      return;
    }
    const table = tableOf(epoch);
    const { base, size } = rangeOf(plane.rtControl.get(this.route, 'slotRange')[table] ?? 0n);
    const owners = plane.slotTables[table].slice(base, base + size);
    // Flipped twice meanwhile, the table may be half of the next: the next sample sees it whole.
    if (plane.word('epoch') > epoch + 1n) return;
    this.note({
      atMs: nowMs(),
      counts: this.count(owners),
      changed: last === undefined ? 0 : this.differences(owners),
      slots: size,
    });
    this.owners = owners;
    this.epoch = epoch;
  }

  private note(sample: Sample): void {
    if (this.samples.length < samplesMax) this.samples.push(sample);
  }

  private differences(owners: Uint32Array): number {
    return owners.reduce((sum, owner, i) => sum + (owner === this.owners[i] ? 0 : 1), 0);
  }

  private count(owners: Uint32Array): number[] {
    const counts = this.ports.map(() => 0);
    for (const owner of owners) {
      const position = this.ports.indexOf(this.plane.backends.get(owner, 'port'));
      if (position >= 0) counts[position] = (counts[position] ?? 0) + 1;
    }
    return counts;
  }

  /** A backend's share of the slots in each bin from `fromMs` on. */
  shares(backend: number, fromMs: number, bins: number, binMs: number): number[] {
    return Array.from({ length: bins }, (_, bin) => {
      const end = fromMs + (bin + 1) * binMs;
      const sample = this.samples.findLast(({ atMs }) => atMs < end);
      return (sample?.counts[backend] ?? NaN) / (sample?.slots ?? NaN);
    });
  }

  moves(fromMs: number, toMs: number): Moves {
    const within = this.samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    const shares = within.map(({ changed, slots }) => changed / slots);
    const ticks = (toMs - fromMs) / tickMs;
    const reversals = this.ports.map((_, i) => reversalTimes(within, i));
    const all = reversals.reduce((sum, times) => sum + times.length, 0);
    const minutes = (toMs - fromMs) / 60_000;
    return {
      shareATick: shares.reduce((sum, share) => sum + share, 0) / ticks,
      greatestShareAtOnce: Math.max(0, ...shares),
      reversalsAMinute: all / this.ports.length / minutes,
      reversalsOfTheWorst: Math.max(...reversals.map(mostWithinAMinute)),
    };
  }
}

function reversalTimes(samples: readonly Sample[], backend: number): number[] {
  const times: number[] = [];
  let direction = 0;
  let before = samples[0]?.counts[backend] ?? 0;
  for (const { atMs, counts } of samples) {
    const count = counts[backend] ?? 0;
    const now = Math.sign(count - before);
    before = count;
    if (now === 0) continue;
    if (direction !== 0 && now !== direction) times.push(atMs);
    direction = now;
  }
  return times;
}

function mostWithinAMinute(times: readonly number[]): number {
  return Math.max(
    0,
    ...times.map((from) => times.filter((at) => at >= from && at < from + 60_000).length),
  );
}
