// Which part of a route's flows is measured: all of them while they are few, so
// that nothing is missed, and a power-of-two part of them when they are many.

const mostHalvings = 16;

/**
 * The mask for `flowsPerSecond` over `backends`, so that about `wanted` flows a
 * second and backend are measured: 0 for all, 2^k - 1 for one in 2^k.
 */
export function latencyMask(
  flowsPerSecond: number,
  backends: number,
  wanted: number,
  before: number,
): number {
  const enough = wanted * Math.max(1, backends);
  let halvings = 0;
  while (halvings < mostHalvings && flowsPerSecond / 2 ** halvings > enough) halvings++;
  const mask = 2 ** halvings - 1;
  // On the way down it waits for a clear case: a rate near the edge must not toggle it.
  return mask < before && flowsPerSecond / ((before + 1) / 2) > enough / 2 ? before : mask;
}
