// A replay with all that is to be said of it: one value that the page for people and
// the JSON document are made from.
import { lawVersion } from '../field/law.js';
import type { Verdict, Violation } from '../harness/invariant.js';
import type { Divergence } from './compare.js';
import type { TraceHeader } from './records.js';
import { isIdentical, isSound, type DatedGap, type Replay } from './replay.js';
import type { Contrast, ReasonCount, Summary } from './summary.js';
import type { RouteHistory } from './timeline.js';
import type { CutTail, Trace } from './trace.js';

/** With what the recorded ticks were compared. */
export type Basis = 'same' | 'other-law' | 'other-knobs';

export interface ReplayReport {
  readonly trace: Trace;
  readonly replay: Replay;
  readonly summary: Summary;
  /** The law that replayed it. */
  readonly law: number;
  readonly basis: Basis;
  /** Those that were set otherwise. */
  readonly knobs: Readonly<Record<string, number>>;
}

export function reportOf(
  trace: Trace,
  replay: Replay,
  summary: Summary,
  knobs: ReplayReport['knobs'],
): ReplayReport {
  const tried = Object.keys(knobs).length > 0;
  const basis = tried ? 'other-knobs' : replay.differences.of > 0 ? 'other-law' : 'same';
  return { trace, replay, summary, law: lawVersion, basis, knobs };
}

interface RouteDocument {
  readonly route: string;
  readonly backends: readonly string[];
  readonly slots: number;
  readonly slotsMoved: number;
  readonly ticksMoved: number;
  readonly admissionMs: Readonly<Record<string, number>>;
  readonly regimeMs: Readonly<Record<string, number>>;
}

export interface ReplayDocument {
  readonly schemaVersion: 1;
  readonly trace: string;
  readonly files: number;
  readonly format: string;
  readonly recordedBy: Omit<TraceHeader, 'columns'>;
  readonly ticks: number;
  readonly fromMs: number | null;
  readonly toMs: number | null;
  readonly ok: boolean;
  readonly identical: boolean;
  readonly comparison: {
    readonly basis: Basis;
    readonly law: number;
    readonly recordedLaws: readonly number[];
    readonly knobs: Readonly<Record<string, number>>;
    readonly divergentTicks: number;
    /** Under another law or other knobs: no fault. */
    readonly differentTicks: number;
    readonly firstDifference: Divergence | null;
    readonly routes: readonly Contrast[];
  };
  readonly firstDivergence: Divergence | null;
  readonly invariants: readonly Verdict[];
  readonly violations: number;
  readonly firstViolation: Violation | null;
  readonly routes: readonly (RouteDocument & { readonly recorded: RouteDocument | null })[];
  readonly reasons: readonly ReasonCount[];
  readonly gaps: readonly DatedGap[];
  readonly cutTails: readonly CutTail[];
}

function authorOf(header: TraceHeader): Omit<TraceHeader, 'columns'> {
  const { nity, law, build, node, kernel, host, phase, run, wallMs } = header;
  return { nity, law, build, node, kernel, host, phase, run, wallMs };
}

function routeDocument(history: RouteHistory): RouteDocument {
  const { name: route, backends, slots, slotsMoved, ticksMoved, modesMs, regimesMs } = history;
  return {
    ...{ route, backends, slots, slotsMoved, ticksMoved },
    admissionMs: Object.fromEntries(modesMs),
    regimeMs: Object.fromEntries(regimesMs),
  };
}

export function documentOf(report: ReplayReport): ReplayDocument {
  const { trace, replay, summary, law, basis, knobs } = report;
  const { format } = trace.first;
  const { ticks, firstMs, lastMs, divergences, differences, laws, verdicts } = replay;
  const { violations, firstViolation, gaps } = replay;
  const recorded = new Map(summary.recorded.routes.map((route) => [route.name, route]));
  return {
    schemaVersion: 1,
    trace: trace.path,
    files: trace.files.length,
    format: `${format.major}.${format.minor}`,
    recordedBy: authorOf(trace.first.header),
    ticks,
    fromMs: firstMs,
    toMs: lastMs,
    ok: isSound(replay),
    identical: isIdentical(replay),
    comparison: {
      ...{ basis, law, recordedLaws: laws, knobs },
      divergentTicks: divergences.ticks,
      differentTicks: differences.ticks,
      firstDifference: differences.first,
      routes: summary.contrasts,
    },
    firstDivergence: divergences.first,
    invariants: verdicts,
    ...{ violations, firstViolation },
    routes: summary.replayed.routes.map((route) => {
      const then = basis === 'same' ? undefined : recorded.get(route.name);
      return { ...routeDocument(route), recorded: then === undefined ? null : routeDocument(then) };
    }),
    reasons: summary.reasons,
    gaps,
    cutTails: trace.cutTails,
  };
}
