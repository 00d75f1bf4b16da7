// What a replay is summed up from, tick by tick: the history of each route, the reasons,
// and, where other knobs or another law were tried, what they changed.
import type { Reason } from '../field/reasons.js';
import { isOf, toldReasons } from './compare.js';
import type { Replayed } from './replay.js';
import { lookOf, recordedLook, Timeline, type RouteLook } from './timeline.js';

export interface ReasonCount {
  readonly change: Reason['change']['of'];
  readonly cause: Reason['cause']['kind'];
  count: number;
  readonly firstMs: number;
  /** As recorded, where another law or other knobs were tried. */
  recorded: number;
}

/** What was tried beside what was recorded. */
export interface Contrast {
  readonly route: string;
  /** Ticks whose slots, mode or regime differ. */
  ticks: number;
  readonly firstMs: number;
  /** The largest difference in the share of one backend, and when. */
  share: number;
  backend: string | null;
  shareMs: number;
}

export class Summary {
  readonly recorded = new Timeline();
  readonly replayed = new Timeline();
  private readonly counts = new Map<string, ReasonCount>();
  private readonly contrasted = new Map<string, Contrast>();

  /** With `route`, of this alone. */
  constructor(private readonly route?: string) {}

  get reasons(): readonly ReasonCount[] {
    return [...this.counts.values()].sort((a, b) => b.count + b.recorded - a.count - a.recorded);
  }

  /** The routes on which it made most of a difference first. */
  get contrasts(): readonly Contrast[] {
    return [...this.contrasted.values()].sort((a, b) => b.ticks - a.ticks);
  }

  see({ tick, atMs, inputs, field, reasons }: Replayed): void {
    const recorded: RouteLook[] = [];
    const replayed: RouteLook[] = [];
    inputs.routes.forEach((signals, i) => {
      const [output, here] = [tick.outputs[i], field.routes[i]];
      if (this.route !== undefined && signals.name !== this.route) return;
      if (output === undefined || here === undefined) return;
      const [then, now] = [recordedLook(signals, output), lookOf(here, signals)];
      recorded.push(then);
      replayed.push(now);
      this.contrast(then, now, atMs);
    });
    this.recorded.see(recorded, atMs, inputs.dtMs);
    this.replayed.see(replayed, atMs, inputs.dtMs);
    for (const reason of tick.reasons) this.count(reason, atMs, 'recorded');
    for (const reason of toldReasons(reasons, tick.outcome)) this.count(reason, atMs, 'count');
  }

  private count(reason: Reason, atMs: number, as: 'count' | 'recorded'): void {
    if (this.route !== undefined && !isOf(reason, this.route)) return;
    const change = reason.change.of;
    const cause = reason.cause.kind;
    const key = `${change} ${cause}`;
    const known = this.counts.get(key) ?? { change, cause, count: 0, recorded: 0, firstMs: atMs };
    known[as]++;
    this.counts.set(key, known);
  }

  private contrast(then: RouteLook, now: RouteLook, atMs: number): void {
    let most = 0;
    let backend: string | null = null;
    then.backends.forEach(({ id, slots }, i) => {
      const share = Math.abs((now.backends[i]?.slots ?? 0) - slots) / Math.max(1, then.slots);
      if (share > most) [most, backend] = [share, id];
    });
    if (most === 0 && then.mode === now.mode && then.regime === now.regime) return;
    const { name: route } = now;
    let known = this.contrasted.get(route);
    if (known === undefined) {
      known = { route, ticks: 0, firstMs: atMs, share: 0, backend: null, shareMs: atMs };
      this.contrasted.set(route, known);
    }
    known.ticks++;
    if (most > known.share) Object.assign(known, { share: most, backend, shareMs: atMs });
  }
}
