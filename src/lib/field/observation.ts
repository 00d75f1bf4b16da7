// What a tick makes of a route's backends before anything is decided: estimates,
// latency against what is normal, circuits, pressure.
import type { Knobs } from '../config/knobs.js';
import { log2 } from './arithmetic.js';
import { isSystemic, judge, whoIsOut } from './isolation.js';
import {
  forgetEvidence,
  freshMemory,
  hear,
  judged,
  remember,
  unheard,
  type Heard,
} from './memory.js';
import { pressures } from './pressure.js';
import { judgeLatency, normalLog, type LatencyVerdict } from './reference.js';
import type { Strictness } from './regime.js';
import type {
  BackendMemory,
  BackendSignals,
  Pressure,
  Reference,
  RouteMemory,
  RouteSignals,
} from './types.js';

export interface Observation {
  readonly memories: readonly BackendMemory[];
  readonly pressures: readonly Pressure[];
  readonly reference: Reference;
  readonly isolated: number;
  readonly systemic: boolean;
  /** Who is out of the game but for a drip. */
  readonly out: readonly boolean[];
  /** By name: what decides between backends that are alike. */
  readonly order: readonly number[];
  /** Half of those that are asked are overwhelmed: less would be answered sooner. */
  readonly congested: boolean;
}

/**
 * Names decide ties, so the order in which backends are listed cannot. As long as
 * the same are listed alike, the order of the last tick still holds.
 */
function orderByName({ backends }: RouteSignals, before: RouteMemory): readonly number[] {
  let at = 0;
  let same = backends.length === before.backends.size;
  before.backends.forEach((_, id) => {
    same &&= backends[at++]?.id === id;
  });
  if (same) return before.order;
  return backends
    .map((_, i) => i)
    .sort((a, b) => ((backends[a]?.id ?? '') < (backends[b]?.id ?? '') ? -1 : 1));
}

const noVerdict: LatencyVerdict = { evidence: 0, ownLog: null, slow: false, good: false };

/** One entry for each backend, in the order of the signals. */
export function observe(
  route: RouteSignals,
  before: RouteMemory,
  strict: Strictness,
  dtMs: number,
  knobs: Knobs,
): Observation {
  const { backends } = route;
  const fresh = freshMemory(knobs);
  const known = backends.map(({ id }) => before.backends.get(id) ?? fresh);
  const heard = backends.map((signals, i) => hear(known[i] ?? fresh, signals, dtMs, knobs));
  const remembered = backends.map((signals, i) =>
    remember(known[i] ?? fresh, signals, heard[i] ?? unheard, dtMs, knobs),
  );
  const slower = log2(knobs.isolateSlower);
  const latency = judgeLatency(before.reference, heard, remembered, slower, dtMs, knobs);
  const isolateEvidence = knobs.isolateEvidence * strict.evidence;
  const memories = backends.map((signals, i) => {
    const memory = remembered[i] ?? fresh;
    const { evidence, ownLog, slow, good } = latency.backends[i] ?? noVerdict;
    const normal = normalLog(memory, latency.reference, null);
    const verdict = {
      signals,
      normalLog: normal,
      evidence,
      isolateEvidence,
      tolerated: latency.tolerated,
      slow,
      good,
    };
    const circuit = judge(memory, verdict, dtMs, knobs);
    const made = judged(memory, evidence, ownLog, circuit);
    const turned = circuit.kind !== memory.circuit.kind && circuit.kind !== 'admitted';
    return turned ? forgetEvidence(made) : made;
  });
  const circuits = memories.map(({ circuit }) => circuit);
  const isolated = circuits.filter(({ kind }) => kind === 'isolated').length;
  const systemic = isSystemic(isolated, memories.length);
  const order = orderByName(route, before);
  return {
    memories,
    pressures: pressures(backends, memories, latency.reference, knobs),
    reference: latency.reference,
    isolated,
    systemic,
    out: whoIsOut(circuits, systemic, order),
    order,
    congested: isCongested(backends, heard, latency.reference, knobs),
  };
}

/** An answer, or a wait for one, so many octaves above the route's normal is a queue's doing. */
const congestedOctaves = 2;

/** It leaves requests unanswered, or answers all of them far later than normal. */
function isOverwhelmed(
  { connects, unserved, waiting }: BackendSignals,
  { count, logSum }: Heard,
  normal: number | null,
  knobs: Knobs,
): boolean {
  if (unserved >= 1 && unserved > connects * knobs.errorGate) return true;
  if (normal === null) return false;
  if (count > 0) return logSum / count - normal > congestedOctaves;
  const waits = waiting !== null && waiting.count >= 2 && waiting.ageMs > 0;
  return waits && log2(waiting.ageMs * 1000) - normal > congestedOctaves;
}

/**
 * Load is what overwhelms many at once. Refusals are none of it: to admit less makes a
 * backend that refuses refuse no less.
 */
function isCongested(
  backends: readonly BackendSignals[],
  heard: readonly Heard[],
  { log }: Reference,
  knobs: Knobs,
): boolean {
  let asked = 0;
  let overwhelmed = 0;
  backends.forEach((signals, i) => {
    const answers = heard[i] ?? unheard;
    const { connects, unserved, waiting } = signals;
    if (connects + unserved + answers.count + (waiting?.count ?? 0) === 0) return;
    asked++;
    if (isOverwhelmed(signals, answers, log, knobs)) overwhelmed++;
  });
  return asked > 0 && overwhelmed * 2 >= asked;
}
