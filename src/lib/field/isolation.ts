// Isolation: failures that dominate take a backend out at once, but for a drip.
// It returns when a probe has succeeded and its time is over; each relapse
// doubles that time.
import type { Knobs } from '../config/knobs.js';
import type { BackendMemory, BackendSignals } from './types.js';

/** The circuit of one backend after this tick. */
export function judge(
  memory: BackendMemory,
  signals: BackendSignals,
  dtMs: number,
  knobs: Knobs,
): BackendMemory {
  const failing = signals.consecutiveFailures >= knobs.isolateAfter;
  if (!memory.isolated) {
    if (!failing) return { ...memory, nextIsolationMs: relaxed(memory, dtMs, knobs) };
    return {
      ...memory,
      isolated: true,
      isolatedForMs: memory.nextIsolationMs,
      nextIsolationMs: Math.min(knobs.isolationMaxMs, memory.nextIsolationMs * 2),
    };
  }
  const isolatedForMs = Math.max(0, memory.isolatedForMs - dtMs);
  const returns = !failing && isolatedForMs === 0;
  return { ...memory, isolatedForMs, isolated: !returns, ...(returns ? { failures: 0 } : {}) };
}

/** Good behaviour is credited at the pace of the clock, down to the first time. */
function relaxed(memory: BackendMemory, dtMs: number, knobs: Knobs): number {
  return Math.max(knobs.isolationMs, memory.nextIsolationMs - dtMs / 10);
}

/**
 * Isolating most of a route is a cascade: past half of it the cause is not the
 * backends, and none is isolated (Envoy's panic threshold is the same half).
 */
export function isSystemic(isolated: number, backends: number): boolean {
  return backends > 0 && isolated * 2 > backends;
}
