// What is remembered from tick to tick: moving averages and decaying counts.
import type { Knobs } from '../config/knobs.js';
import type { BackendMemory, BackendSignals } from './types.js';

export function freshMemory(knobs: Knobs): BackendMemory {
  return {
    open: null,
    latencyUs: null,
    connects: 0,
    failures: 0,
    isolatedForMs: 0,
    isolated: false,
    nextIsolationMs: knobs.isolationMs,
  };
}

/**
 * The weight of the newest sample in a moving average of time constant `tau`:
 * the backward Euler step of dx/dt = (u - x)/tau. Needs no exp(), so it is the
 * same bit for bit everywhere.
 */
function gain(dtMs: number, tauMs: number): number {
  return dtMs / (dtMs + tauMs);
}

/** A missing sample leaves the average as it is. */
function average(before: number | null, sample: number | null, alpha: number): number | null {
  if (sample === null) return before;
  return before === null ? sample : before + alpha * (sample - before);
}

/** Counts fade with wall time, so an old failure is forgotten without new connects. */
export function remember(
  before: BackendMemory,
  signals: BackendSignals,
  dtMs: number,
  knobs: Knobs,
): BackendMemory {
  const alpha = gain(dtMs, knobs.latencyMs);
  return {
    ...before,
    open: average(before.open, signals.openMean, alpha),
    latencyUs: average(before.latencyUs, signals.connectLatencyUs, alpha),
    connects: before.connects * (1 - alpha) + signals.connects,
    failures: before.failures * (1 - alpha) + signals.failures,
  };
}
