// The state a fresh dataplane starts in: an empty table A that is complete, no
// agent yet, and the thresholds that hold until an agent brings its own.
import type { Knobs } from '../config/knobs.js';
import { schemaWord } from './plane.js';
import { StructArray, StructCodec } from './struct.js';

const nsPerMs = 1_000_000n;

/** The smallest epoch that names table A and is not 0, which means "being written". */
const firstEpoch = 2n;

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
export function initialise(memory: ArrayBuffer, knobs: Knobs): void {
  new StructArray(new StructCodec('fieldState'), memory, 1).write(0, {
    epoch: firstEpoch,
    heldEpoch: firstEpoch,
    tableEpoch: [firstEpoch, 0n],
    schema: schemaWord,
    ...thresholds(knobs),
  });
}
