// The state a fresh dataplane starts in: an empty table A that is complete, no
// agent yet, and the thresholds that hold until an agent brings its own.
import type { Knobs } from '../config/knobs.js';
import { Latency } from './abi.js';
import { schemaWord } from './plane.js';
import { StructArray, StructCodec } from './struct.js';

const nsPerMs = 1_000_000n;

/** The smallest epoch that names table A and is not 0, which means "being written". */
const firstEpoch = 2n;

/** What is measured of a backend's speed; first-byte latency costs a program on each packet in. */
export type LatencySource = 'connect' | 'first-byte';

export function latencyCode(latency: LatencySource): number {
  return latency === 'connect' ? Latency.connect : Latency.firstByte;
}

/** field_state's share of the knobs: what the kernel judges staleness and suspicion by. */
export function thresholds(knobs: Knobs) {
  return {
    holdAfterNs: BigInt(knobs.tau1Ms) * nsPerMs,
    fallbackAfterNs: BigInt(knobs.tau2Ms) * nsPerMs,
    suspectNs: BigInt(knobs.suspectMs) * nsPerMs,
    suspectAfter: knobs.suspectFailures,
    suspectDoublings: knobs.suspectDoublings,
    sampleMask: knobs.sampleEvery - 1,
  };
}

/** Writes field_state's only element, for the kernel's map and for the model's alike. */
export function initialise(memory: ArrayBuffer, knobs: Knobs, latency: LatencySource): void {
  new StructArray(new StructCodec('fieldState'), memory, 1).write(0, {
    epoch: firstEpoch,
    heldEpoch: firstEpoch,
    tableEpoch: [firstEpoch, 0n],
    schema: schemaWord,
    latency: latencyCode(latency),
    ...thresholds(knobs),
  });
}
