// Pressure: P = (W_Q Q* + W_L L* + W_P p* + W_N N*) (1 + W_E E*) + gate, in layers:
// the backend itself, the path to it, its node. Each term is relative to what is
// normal, so a backend like its peers has the pressure W_Q + W_L + W_P.
import type { Knobs } from '../config/knobs.js';
import { clamp, exp2, log2, median } from './arithmetic.js';
import { typicalLog } from './memory.js';
import type { Stalls } from './signals.js';
import type { BackendMemory, BackendSignals, Pressure, Reference } from './types.js';

interface Observed {
  readonly signals: BackendSignals;
  readonly memory: BackendMemory;
}

/** Standard deviations of a mean that are taken for chance. */
const chanceSigmas = 1;
/** A path twice as long as it was is as bad as a path can be: distance is no fault. */
const pathMost = 2;

/**
 * Open connections per slot. The plain count would feed back, for it rises with
 * the share; by Little's law this one is proportional to service time alone.
 */
function openPerSlot({ signals, memory }: Observed): number | null {
  return memory.open === null || signals.slots === 0 ? null : memory.open / signals.slots;
}

/** Few samples are noise: believe them by n/(n+k), and the peers for the rest. */
function shrunk(value: number, neutral: number, samples: number, k: number): number {
  return samples <= 0 ? neutral : neutral + ((value - neutral) * samples) / (samples + k);
}

/**
 * What measurement cannot tell from noise is no difference: it would only move the
 * rounding of slots from one backend like its peers to another. d − n²/d is 0 at the
 * noise, without a step, and soon the deviation itself.
 */
function beyondNoise(deviation: number, noise: number): number {
  return Math.abs(deviation) <= noise ? 0 : deviation - (noise * noise) / deviation;
}

/** Only a queue well beyond the peers' counts, for open connections may just be long ones. */
function queueTerm(observed: Observed, reference: number | null, knobs: Knobs): number | null {
  const own = openPerSlot(observed);
  if (own === null || reference === null) return null;
  const { memory } = observed;
  // Peers that hold nothing open at all: compare with a single connection a slot.
  const ratio = reference > 0 ? own / reference : 1 + own;
  return Math.max(
    1,
    shrunk(ratio, 1, memory.connects + (memory.open ?? 0), knobs.shrinkage) / knobs.queueGate,
  );
}

function latencyTerm({ memory }: Observed, reference: Reference, knobs: Knobs): number | null {
  const own = typicalLog(memory);
  if (own === null || reference.log === null) return null;
  // A mean of few answers is as uncertain as their spread over the root of their number.
  const chance = chanceSigmas * Math.sqrt(reference.spread / memory.answers);
  const octaves = beyondNoise(own - reference.log, Math.max(chance, log2(1 + knobs.noise)));
  return exp2(shrunk(octaves, 0, memory.answers, knobs.shrinkage));
}

function pathTerm({ memory }: Observed, knobs: Knobs): number | null {
  const { pathUs, pathReferenceUs, connects, retransmits } = memory;
  if (pathUs === null || pathReferenceUs === null || pathReferenceUs <= 0) return null;
  const longer = 1 + beyondNoise(pathUs / pathReferenceUs - 1, knobs.noise);
  const ratio = shrunk(longer, 1, connects, knobs.shrinkage);
  return Math.min(pathMost, ratio + retransmits / (connects + knobs.shrinkage + 1));
}

/** The worst share of time that a local backend's cgroup stalled; null for a remote one. */
function nodeTerm(stalls: Stalls | null): number | null {
  if (stalls === null) return null;
  const shares = [
    ...(stalls.cpu.kind === 'read' ? [stalls.cpu.value.some] : []),
    ...(stalls.memory.kind === 'read' ? [stalls.memory.value.full] : []),
    ...(stalls.io.kind === 'read' ? [stalls.io.value.full] : []),
  ];
  return shares.length === 0 ? null : Math.max(...shares);
}

export function failureRatio({ failures, connects }: BackendMemory): number {
  return connects > 0 ? clamp(failures / connects, 0, 1) : 0;
}

function errorTerm({ memory }: Observed, knobs: Knobs): number | null {
  if (memory.connects < 0.1) return null;
  const ratio = shrunk(failureRatio(memory), 0, memory.connects, knobs.shrinkage / 4);
  return Math.min(knobs.errorMax, ratio / knobs.errorReference);
}

/** One failure is an accident; two in the time that is remembered are a ratio. */
function gateOf({ memory }: Observed, knobs: Knobs): number {
  return failureRatio(memory) > knobs.errorGate && memory.failures >= 1.5
    ? knobs.errorGatePressure
    : 0;
}

/** What a backend like its peers has. */
export function normalPressure(knobs: Knobs): number {
  return knobs.weightQueue + knobs.weightLatency + knobs.weightPath;
}

/**
 * The pressure of every backend of a route, in the given order. A term whose
 * signal is missing is neutral: it says nothing for or against.
 */
export function pressures(
  backends: readonly BackendSignals[],
  memories: readonly BackendMemory[],
  reference: Reference,
  knobs: Knobs,
): Pressure[] {
  const all: Observed[] = [];
  const queues: number[] = [];
  memories.forEach((memory, i) => {
    const signals = backends[i];
    if (signals === undefined) return;
    const observed = { signals, memory };
    all.push(observed);
    const open = memory.circuit.kind === 'isolated' ? null : openPerSlot(observed);
    if (open !== null) queues.push(open);
  });
  const queueReference = median(queues);
  return all.map((observed): Pressure => {
    const queue = queueTerm(observed, queueReference, knobs);
    const latency = latencyTerm(observed, reference, knobs);
    const path = pathTerm(observed, knobs);
    const node = nodeTerm(observed.signals.stalls);
    const errors = errorTerm(observed, knobs);
    const gate = gateOf(observed, knobs);
    // By Little's law the queue speaks for the latency where that is not measured at all.
    const stand = latency === null && observed.signals.firstByte === null ? queue : latency;
    const load =
      knobs.weightQueue * (queue ?? 1) +
      knobs.weightLatency * (stand ?? 1) +
      knobs.weightPath * (path ?? 1) +
      knobs.weightNode * (node ?? 0);
    const total = load * (1 + knobs.weightErrors * (errors ?? 0)) + gate;
    return { queue, latency, path, node, errors, gate, total };
  });
}
