// Pressure: P = W_Q Q* + W_L L* + W_E E*, each term relative to its reference.
import type { Knobs } from '../config/knobs.js';
import type { BackendMemory, BackendSignals, Pressure } from './types.js';

export interface Observed {
  readonly signals: BackendSignals;
  readonly memory: BackendMemory;
}

/** The lower median: a value that occurs, so one wild backend cannot invent it. */
function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1];
}

/**
 * Open connections per slot. The plain count would feed back, for it rises with
 * the share; by Little's law this one is proportional to service time alone.
 */
function openPerSlot({ signals, memory }: Observed): number | null {
  return memory.open === null || signals.slots === 0 ? null : memory.open / signals.slots;
}

/** Few samples are noise: believe them by n/(n+k), and the peers for the rest. */
function shrunk(ratio: number, samples: number, k: number): number {
  return samples <= 0 ? 1 : 1 + ((ratio - 1) * samples) / (samples + k);
}

function relative(value: number | null, reference: number | undefined): number {
  if (value === null || reference === undefined) return 1;
  if (reference > 0) return value / reference;
  // Its peers hold nothing open at all: compare with a single connection a tick's share.
  return value > 0 ? 1 + value : 1;
}

/** The pressure of every backend of a route, in the given order. */
export function pressures(backends: readonly Observed[], knobs: Knobs): Pressure[] {
  const peers = backends.filter(({ memory }) => !memory.isolated);
  const queueReference = median(peers.map(openPerSlot).filter((value) => value !== null));
  const latencyReference = median(
    peers.map(({ memory }) => memory.latencyUs).filter((value) => value !== null),
  );
  return backends.map((observed) => {
    const { memory } = observed;
    // An open connection is evidence too: a hung backend completes nothing.
    const samples = memory.connects + (memory.open ?? 0);
    const queue = shrunk(relative(openPerSlot(observed), queueReference), samples, knobs.shrinkage);
    const latency = shrunk(
      relative(memory.latencyUs, latencyReference),
      memory.connects - memory.failures,
      knobs.shrinkage,
    );
    const ratio = memory.connects > 0 ? memory.failures / memory.connects : 0;
    const errors = Math.min(
      knobs.errorMax,
      (ratio / knobs.errorReference) * (memory.connects / (memory.connects + knobs.shrinkage)),
    );
    const total =
      knobs.weightQueue * queue + knobs.weightLatency * latency + knobs.weightErrors * errors;
    return { queue, latency, errors, total };
  });
}
