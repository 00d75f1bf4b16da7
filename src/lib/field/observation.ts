// What a tick makes of a route's backends before anything is decided: estimates,
// latency against what is normal, circuits, pressure.
import type { Knobs } from '../config/knobs.js';
import { log2 } from './arithmetic.js';
import { isSystemic, judge } from './isolation.js';
import { forgetEvidence, freshMemory, hear, judged, remember, unheard } from './memory.js';
import { pressures } from './pressure.js';
import { judgeLatency, normalLog, type LatencyVerdict } from './reference.js';
import type { Strictness } from './regime.js';
import type { BackendMemory, Pressure, Reference, RouteMemory, RouteSignals } from './types.js';

export interface Observation {
  readonly memories: readonly BackendMemory[];
  readonly pressures: readonly Pressure[];
  readonly reference: Reference;
  readonly isolated: number;
  readonly systemic: boolean;
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
  let isolated = 0;
  for (const { circuit } of memories) if (circuit.kind === 'isolated') isolated++;
  return {
    memories,
    pressures: pressures(backends, memories, latency.reference, knobs),
    reference: latency.reference,
    isolated,
    systemic: isSystemic(isolated, memories.length),
  };
}

/** Out of the game but for its drip; nobody is, when the cause is systemic. */
export function isOut({ systemic, memories }: Observation, backend: number): boolean {
  return !systemic && memories[backend]?.circuit.kind === 'isolated';
}
