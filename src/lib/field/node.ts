// The node itself: time to failure of what can be exhausted, and stalls that
// last. Both close the valve; neither says anything of a remote backend.
import type { Knobs } from '../config/knobs.js';
import type { Cause } from './reasons.js';
import { exhaustibles, stallResources, type NodeSignals } from './signals.js';
import type { AdmissionMode } from './states.js';
import type { Exhaustion, NodeMemory, UsagePoint } from './types.js';

export const freshNode: NodeMemory = { stalled: [], usage: new Map() };

/** A rate below this is none: it keeps the time to failure finite. */
const epsilonPerSecond = 1e-9;
const never = 1e12;

export interface NodeVerdict {
  readonly memory: NodeMemory;
  readonly mode: AdmissionMode;
  readonly cause: Cause | null;
  readonly exhaustion: Exhaustion | null;
  readonly stalledNow: boolean;
  readonly stalledTicks: number;
  readonly missing: readonly { readonly sensor: string; readonly why: string }[];
}

/** v = max(0, (x(t) - x(t-Δ))/Δ): the points of the last Δ and what they grow by in a second. */
function growth(
  before: readonly UsagePoint[],
  used: number,
  dtMs: number,
  knobs: Knobs,
): { points: readonly UsagePoint[]; perSecond: number } {
  const aged = before
    .map((point) => ({ ...point, ageMs: point.ageMs + dtMs }))
    .filter(({ ageMs }) => ageMs <= knobs.ttfWindowMs);
  const points = [...aged, { ageMs: 0, used }];
  const [oldest] = points;
  // A growth over less than half the window is a step, not a rate.
  if (oldest === undefined || oldest.ageMs < knobs.ttfWindowMs / 2) return { points, perSecond: 0 };
  return { points, perSecond: Math.max(0, ((used - oldest.used) * 1000) / oldest.ageMs) };
}

function isStalled({ stalls }: NodeSignals, knobs: Knobs): boolean {
  const { cpu, memory, io } = stalls;
  return (
    (cpu.kind === 'read' && cpu.value.some > knobs.stallCpu) ||
    (memory.kind === 'read' && memory.value.full > knobs.stallMemory) ||
    (io.kind === 'read' && io.value.full > knobs.stallIo)
  );
}

function missingOf(signals: NodeSignals): NodeVerdict['missing'] {
  return [
    ...stallResources.map((name) => ({ sensor: `psi ${name}`, reading: signals.stalls[name] })),
    ...exhaustibles.map((name) => ({ sensor: name, reading: signals.usage[name] })),
  ].flatMap(({ sensor, reading }) =>
    reading.kind === 'missing' ? [{ sensor, why: reading.why }] : [],
  );
}

/** The verdict of one tick on the node. */
export function judgeNode(
  before: NodeMemory,
  signals: NodeSignals,
  dtMs: number,
  knobs: Knobs,
): NodeVerdict {
  const usage = new Map<string, readonly UsagePoint[]>();
  let first: Exhaustion | null = null;
  for (const resource of exhaustibles) {
    const reading = signals.usage[resource];
    if (reading.kind === 'missing' || reading.value.limit <= 0) continue;
    const { used, limit } = reading.value;
    const { points, perSecond } = growth(before.usage.get(resource) ?? [], used, dtMs, knobs);
    usage.set(resource, points);
    const ttfMs = Math.min(
      never,
      (Math.max(0, limit - used) / Math.max(epsilonPerSecond, perSecond)) * 1000,
    );
    // Far from its limit, a growth is a start-up; what matters is the last part of the way.
    const counts = used / limit >= knobs.exhaustionFloor;
    const found = { resource, used, limit, perSecond, ttfMs: counts ? ttfMs : never };
    if (first === null || found.ttfMs < first.ttfMs) first = found;
  }
  const stalledNow = isStalled(signals, knobs);
  const stalled = [...before.stalled, stalledNow].slice(-knobs.stallSamples);
  const stalledTicks = stalled.filter(Boolean).length;
  const sustained = stalledTicks >= Math.min(knobs.stallSustained, knobs.stallSamples);
  const verdict = {
    memory: { stalled, usage },
    exhaustion: first,
    stalledNow,
    stalledTicks,
    missing: missingOf(signals),
  };
  const ttf = (limitMs: number): Cause | null =>
    first !== null && first.ttfMs < limitMs
      ? { kind: 'ttf', resource: first.resource, ttfMs: first.ttfMs, limitMs }
      : null;
  const hard: Cause | null =
    ttf(knobs.ttfHardMs) ??
    (sustained ? { kind: 'stall', ticks: stalledTicks, of: knobs.stallSamples } : null);
  if (hard !== null) return { ...verdict, mode: 'hard', cause: hard };
  const soft = ttf(knobs.ttfSafeMs);
  return { ...verdict, mode: soft === null ? 'normal' : 'soft', cause: soft };
}
