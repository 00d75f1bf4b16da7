// What is said of a series of rounds. The rounds themselves are always kept.

export interface Series {
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly p99: number;
  /** In the order they were measured. */
  readonly rounds: readonly number[];
}

/** By linear interpolation between the two nearest ranks. */
export function quantile(sorted: readonly number[], q: number): number {
  const rank = (sorted.length - 1) * q;
  const below = sorted[Math.floor(rank)] ?? NaN;
  const above = sorted[Math.ceil(rank)] ?? NaN;
  // Of two that never came to be, too.
  if (below === above) return below;
  return below + (above - below) * (rank - Math.floor(rank));
}

export function series(rounds: readonly number[]): Series {
  const sorted = rounds.toSorted((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    lowerQuartile: quantile(sorted, 0.25),
    upperQuartile: quantile(sorted, 0.75),
    p99: quantile(sorted, 0.99),
    rounds,
  };
}

/** Round by round, so that what disturbs both of a pair disturbs neither's ratio. */
export function paired(
  left: readonly number[],
  right: readonly number[],
  combine: (left: number, right: number) => number,
): number[] {
  return left.map((value, round) => combine(value, right[round] ?? NaN));
}
