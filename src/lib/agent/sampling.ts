// Which part of a route's traffic is measured: all of it while there is little, so
// that nothing is missed, and a power-of-two part when there is much.

/** Of flows, one in mask + 1 is measured; of the exchanges of one, one in skip + 1. */
export interface Sampling {
  readonly mask: number;
  readonly skip: number;
}

export interface Rates {
  readonly flowsPerSecond: number;
  /** Answers that were measured. */
  readonly answersPerSecond: number;
}

const mostFlowHalvings = 16;
/** A flow that hangs in an exchange that is passed over is not seen to: so not too many are. */
const mostSkip = 63;

/** The least 2^k - 1, up to `most`, that divides `rate` down to `enough`. */
function part(rate: number, enough: number, before: number, most: number): number {
  let mask = 0;
  while (mask < most && rate / (mask + 1) > enough) mask = mask * 2 + 1;
  // On the way down it waits for a clear case: a rate near the edge must not toggle it.
  return mask < before && rate / ((before + 1) / 2) > enough / 2 ? before : mask;
}

/** The sampling for which about `wanted` flows and answers a second and backend are measured. */
export function sampling(
  { flowsPerSecond, answersPerSecond }: Rates,
  backends: number,
  wanted: number,
  before: Sampling,
): Sampling {
  const enough = wanted * Math.max(1, backends);
  // What would be measured if nothing were passed over.
  const exchanges = answersPerSecond * (before.skip + 1);
  return {
    mask: part(flowsPerSecond, enough, before.mask, 2 ** mostFlowHalvings - 1),
    skip: part(exchanges, 2 * enough, before.skip, mostSkip),
  };
}
