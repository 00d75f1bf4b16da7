// Pseudorandom numbers that are the same for every peer and in every run.

/** mulberry32: 32 bits of state are plenty for a minute of requests. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** By Box and Muller; of each pair one is left unused. */
export function standardNormal(seed: number): () => number {
  const next = uniform(Math.imul(seed + 1, 0x9e37_79b1));
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}
