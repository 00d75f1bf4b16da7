// Replay: the same law over the recorded inputs. It compares bit for bit, has the
// invariants checked, and shows every tick to whoever wants to make something of it.
import type { Knobs } from '../config/knobs.js';
import { step } from '../field/step.js';
import type { FieldState, StepResult } from '../field/types.js';
import type { TickView, Verdict, Violation } from '../harness/invariant.js';
import { difference, hex, type Divergence } from './compare.js';
import { Digester } from './digest.js';
import type { RecordedTick } from './reader.js';
import type { Gap } from './records.js';
import type { Trace } from './trace.js';

/** What checks the invariants. */
export interface Monitor {
  see(view: TickView): readonly Violation[];
  verdicts(): readonly Verdict[];
}

/** One tick of the replay, recorded and recomputed. */
export interface Replayed extends TickView {
  readonly tick: RecordedTick;
  readonly result: StepResult;
  /** The first of a stretch: what was before it is not known. */
  readonly fresh: boolean;
}

export interface ReplayOptions {
  readonly fromMs?: number;
  readonly toMs?: number;
  /** Compares and counts this route alone. */
  readonly route?: string;
  readonly monitor?: Monitor;
  readonly watch?: (replayed: Replayed) => void;
}

export interface DatedGap extends Gap {
  readonly atMs: number;
}

export interface Replay {
  readonly ticks: number;
  readonly firstMs: number | null;
  readonly lastMs: number | null;
  readonly divergent: number;
  readonly firstDivergence: Divergence | null;
  readonly gaps: readonly DatedGap[];
  readonly violations: number;
  readonly firstViolation: Violation | null;
  readonly verdicts: readonly Verdict[];
}

export function replay(trace: Trace, options: ReplayOptions = {}): Replay {
  const { fromMs = 0, toMs = Infinity, route, monitor, watch } = options;
  let state: FieldState | undefined;
  let digester: Digester | undefined;
  let last: { readonly run: string; readonly sequence: number } | undefined;
  let counted: typeof last;
  let ticks = 0;
  let firstMs: number | null = null;
  let lastMs: number | null = null;
  let divergent = 0;
  let firstDivergence: Divergence | null = null;
  let violations = 0;
  let firstViolation: Violation | null = null;
  const gaps: DatedGap[] = [];
  const tell = (divergence: Divergence) => {
    divergent++;
    firstDivergence ??= divergence;
  };
  for (const point of trace.points({ fromMs, toMs })) {
    const { atMs } = point;
    if (point.kind === 'gap') {
      if (atMs >= fromMs) gaps.push({ ...point.gap, atMs });
      continue;
    }
    if (point.kind === 'snapshot') {
      const { file, sequence } = point;
      digester = new Digester(file.shapes);
      const follows = last?.run === file.header.run && sequence === last.sequence + 1;
      if (follows && state !== undefined && atMs >= fromMs && route === undefined) {
        const expected = hex(digester.state(point.state));
        const got = hex(digester.state(state));
        const where = { sequence, atMs, route: null, backend: null };
        if (expected !== got) tell({ ...where, field: 'snapshot hash', expected, got });
      }
      state = point.state;
      continue;
    }
    if (state === undefined || digester === undefined) continue;
    const { tick, run } = point;
    const { sequence, knobs, inputs } = tick;
    const before: FieldState = state;
    const result = step(before, inputs, knobs);
    state = result.state;
    last = { run, sequence };
    if (atMs < fromMs || point.repeated) continue;
    ticks++;
    firstMs ??= atMs;
    lastMs = atMs;
    const found = difference(tick, result, digester, route);
    if (found !== null) tell({ sequence, atMs, ...found });
    const view: TickView = { sequence, atMs, knobs, inputs, before, ...result };
    for (const violation of monitor?.see(view) ?? []) {
      if (route !== undefined && violation.route !== null && violation.route !== route) continue;
      violations++;
      firstViolation ??= violation;
    }
    const fresh = counted?.run !== run || sequence !== counted.sequence + 1;
    watch?.({ ...view, tick, result, fresh });
    counted = last;
  }
  const verdicts = monitor?.verdicts() ?? [];
  return {
    ...{ ticks, firstMs, lastMs, divergent, firstDivergence },
    ...{ gaps, violations, firstViolation, verdicts },
  };
}

/** The recorded knobs with some of them set otherwise; the same object for the same knobs. */
export function retuned(set: (knobs: Knobs) => Knobs): (knobs: Knobs) => Knobs {
  const known = new Map<string, Knobs>();
  return (knobs) => {
    const key = JSON.stringify(knobs);
    const made = known.get(key) ?? set(knobs);
    known.set(key, made);
    return made;
  };
}
