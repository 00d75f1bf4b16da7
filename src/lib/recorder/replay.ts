// Replay: the law over the recorded inputs. What the same law says is compared bit for
// bit; what another law or other knobs say is a difference, and no fault. The invariants
// are checked on whatever comes out, and every tick is shown to whoever watches.
import type { Knobs } from '../config/knobs.js';
import { lawVersion } from '../field/law.js';
import { step } from '../field/step.js';
import type { FieldState } from '../field/types.js';
import type { TickView, Verdict, Violation } from '../harness/invariant.js';
import { difference, hex, visibleDifference, type Divergence } from './compare.js';
import { Digester } from './digest.js';
import type { RecordedTick } from './reader.js';
import type { Gap } from './records.js';
import { SlotsInForce } from './slots-in-force.js';
import type { Trace, TracePoint } from './trace.js';

/** What checks the invariants. */
export interface InvariantWatch {
  see(view: TickView): readonly Violation[];
  verdicts(): readonly Verdict[];
}

/** One tick of the replay, recorded and recomputed. */
export interface Replayed extends TickView {
  readonly tick: RecordedTick;
  /** The first of a stretch: what was before it is not known. */
  readonly fresh: boolean;
}

export interface ReplayOptions {
  readonly fromMs?: number;
  readonly toMs?: number;
  /** Compares and counts this route alone. */
  readonly route?: string;
  /** Other knobs for those that were recorded: nothing is a divergence then. */
  readonly retune?: (recorded: Knobs) => Knobs;
  readonly watch?: InvariantWatch;
  readonly onTick?: (replayed: Replayed) => void;
}

export interface DatedGap extends Gap {
  readonly atMs: number;
}

/** Ticks that do not come to what was recorded. */
export interface Differences {
  readonly ticks: number;
  readonly first: Divergence | null;
}

export interface Replay {
  readonly ticks: number;
  readonly firstMs: number | null;
  readonly lastMs: number | null;
  /** Under the law and the knobs that were recorded. */
  readonly divergences: Differences;
  /** Under others, and of how many ticks they are. */
  readonly differences: Differences & { readonly of: number };
  /** The laws that recorded it, and how many runs of an agent. */
  readonly laws: readonly number[];
  readonly runs: number;
  readonly gaps: readonly DatedGap[];
  readonly violations: number;
  readonly firstViolation: Violation | null;
  readonly verdicts: readonly Verdict[];
}

export function isIdentical({ divergences, differences }: Replay): boolean {
  return divergences.ticks + differences.ticks === 0;
}

export function isSound({ divergences, violations }: Replay): boolean {
  return divergences.ticks + violations === 0;
}

class Tally {
  ticks = 0;
  first: Divergence | null = null;

  add(divergence: Divergence): void {
    this.ticks++;
    this.first ??= divergence;
  }
}

type Snapshot = Extract<TracePoint, { kind: 'snapshot' }>;
type TickPoint = Extract<TracePoint, { kind: 'tick' }>;

class Replaying {
  readonly divergences = new Tally();
  readonly differences = new Tally();
  readonly laws = new Set<number>();
  readonly runs = new Set<string>();
  readonly gaps: DatedGap[] = [];
  ticks = 0;
  incomparable = 0;
  firstMs: number | null = null;
  lastMs: number | null = null;
  violations = 0;
  firstViolation: Violation | null = null;
  private state: FieldState | undefined;
  private digester: Digester | undefined;
  private comparable = true;
  private last: { readonly run: string; readonly sequence: number } | undefined;
  /** A gap was told that the next tick comes after. */
  private gapTold = false;
  private readonly inForce = new SlotsInForce();

  constructor(
    private readonly options: ReplayOptions,
    private readonly fromMs: number,
  ) {}

  see(point: TracePoint): void {
    switch (point.kind) {
      case 'gap':
        this.gapTold = true;
        if (point.atMs >= this.fromMs) this.gaps.push({ ...point.gap, atMs: point.atMs });
        return;
      case 'snapshot':
        this.snapshot(point);
        return;
      case 'tick':
        this.tick(point);
    }
  }

  private snapshot({ file, sequence, atMs, state }: Snapshot): void {
    this.digester = new Digester(file.shapes);
    this.laws.add(file.header.law);
    this.runs.add(file.header.run);
    const comparable = file.header.law === lawVersion && this.options.retune === undefined;
    const follows =
      this.last?.run === file.header.run &&
      sequence === this.last.sequence + 1 &&
      this.comparable === comparable;
    this.comparable = comparable;
    if (!follows) this.inForce.forget();
    if (follows && this.state !== undefined) {
      // What is tried goes on with what it came to itself.
      if (!comparable) return;
      const expected = hex(this.digester.state(state));
      const got = hex(this.digester.state(this.state));
      if (expected !== got && atMs >= this.fromMs && this.options.route === undefined) {
        const where = { sequence, atMs, route: null, backend: null };
        this.divergences.add({ ...where, field: 'snapshot hash', expected, got });
      }
    }
    this.state = state;
  }

  private tick({ atMs, tick, run, repeated }: TickPoint): void {
    const { state: before, digester, comparable, options } = this;
    if (before === undefined || digester === undefined) return;
    const { sequence } = tick;
    const knobs = options.retune?.(tick.knobs) ?? tick.knobs;
    const inputs = comparable ? tick.inputs : this.inForce.inputs(tick);
    const result = step(before, inputs, knobs);
    if (!comparable) this.inForce.left(tick, inputs, result.field);
    this.state = result.state;
    const fresh = this.last?.run !== run || sequence !== this.last.sequence + 1;
    if (!repeated) this.noticeHole(run, sequence, atMs);
    this.last = { run, sequence };
    this.gapTold = false;
    if (atMs < this.fromMs || repeated) return;
    this.ticks++;
    this.firstMs ??= atMs;
    this.lastMs = atMs;
    if (!comparable) this.incomparable++;
    // Other knobs are another memory by themselves: what they change is what can be seen.
    const differenceOf = options.retune === undefined ? difference : visibleDifference;
    const found = differenceOf(tick, result, digester, options.route);
    if (found !== null) {
      this[comparable ? 'divergences' : 'differences'].add({ sequence, atMs, ...found });
    }
    this.check({ sequence, atMs, knobs, inputs, before, ...result }, tick, fresh);
  }

  private check(view: TickView, tick: RecordedTick, fresh: boolean): void {
    const { watch, route, onTick } = this.options;
    for (const violation of watch?.see(view) ?? []) {
      if (route !== undefined && violation.route !== null && violation.route !== route) continue;
      this.violations++;
      this.firstViolation ??= violation;
    }
    onTick?.({ ...view, tick, fresh });
  }

  /** A file that was removed leaves no record of it. */
  private noticeHole(run: string, sequence: number, atMs: number): void {
    const { last, gapTold, fromMs } = this;
    if (gapTold || last?.run !== run || sequence <= last.sequence + 1 || atMs < fromMs) return;
    const from = last.sequence + 1;
    const to = sequence - 1;
    this.gaps.push({ from, to, ticks: to - from + 1, why: 'they are not in the trace', atMs });
  }
}

export function replay(trace: Trace, options: ReplayOptions = {}): Replay {
  const { fromMs = 0, toMs = Infinity, watch } = options;
  const replaying = new Replaying(options, fromMs);
  for (const point of trace.points({ fromMs, toMs })) replaying.see(point);
  const { ticks, firstMs, lastMs, divergences, differences, laws, runs, gaps } = replaying;
  const { violations, firstViolation, incomparable } = replaying;
  return {
    ticks,
    firstMs,
    lastMs,
    divergences: { ticks: divergences.ticks, first: divergences.first },
    differences: { ticks: differences.ticks, first: differences.first, of: incomparable },
    laws: [...laws],
    runs: runs.size,
    gaps,
    violations,
    firstViolation,
    verdicts: watch?.verdicts() ?? [],
  };
}

/** The recorded knobs with some of them set otherwise; the same object for the same knobs. */
export function retuned(set: (knobs: Knobs) => Knobs): (knobs: Knobs) => Knobs {
  const byObject = new WeakMap<Knobs, Knobs>();
  const byValue = new Map<string, Knobs>();
  return (knobs) => {
    const known = byObject.get(knobs);
    if (known !== undefined) return known;
    const key = JSON.stringify(knobs);
    const made = byValue.get(key) ?? set(knobs);
    byValue.set(key, made);
    byObject.set(knobs, made);
    return made;
  };
}
