// Who was sent how much, and when: attempts by backend in fine windows, and the shares
// that are made of them.

/** Windows in which attempts are counted: fine enough to tell half a second. */
export const fineMs = 100;

/** Attempts by place, each window of `fineMs`. */
export type Fine = readonly Float64Array[];

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Attempts to `places`, and to all, in a stretch. */
export function picks(fine: Fine, places: readonly number[], { fromMs, toMs }: Span) {
  let to = 0;
  let all = 0;
  for (
    let w = Math.floor(fromMs / fineMs);
    w < Math.min(fine.length, Math.ceil(toMs / fineMs));
    w++
  ) {
    const window = fine[w];
    if (window === undefined) continue;
    for (const count of window) all += count;
    for (const place of places) to += window[place] ?? 0;
  }
  return { to, all };
}

interface FairShare {
  /** Whose shares are looked at, and whose attempts are the whole. */
  readonly places: readonly number[];
  readonly among: readonly number[];
  readonly span: Span;
  readonly windowMs: number;
  readonly atLeast: number | undefined;
  readonly atMost: number | undefined;
}

/** Looks overlap: each begins so much after the one before. */
const stepMs = 1000;
/** Fewer attempts than this a backend say nothing of shares. */
const leastExpected = 10;
/** What chance alone may do is granted: so many standard deviations of a count (Poisson). */
const grantedSigmas = 1;

/**
 * The share of a backend, as a multiple of a fair one, in the look that was worst beside
 * its bounds; null if no look saw enough. Chance is granted: where `n` attempts would be
 * fair, a count is moved by √n towards `n`, and no farther.
 */
export function worstShare(
  fine: Fine,
  { places, among, span, windowMs, atLeast, atMost }: FairShare,
): number | null {
  let worst: number | null = null;
  let worstBy = -Infinity;
  for (let fromMs = span.fromMs; fromMs + windowMs <= span.toMs; fromMs += stepMs) {
    const sums = coarse(fine, fromMs, fromMs + windowMs);
    const expected = among.reduce((sum, place) => sum + (sums[place] ?? 0), 0) / among.length;
    if (expected < leastExpected) continue;
    const granted = grantedSigmas * Math.sqrt(expected);
    for (const place of places) {
      const off = (sums[place] ?? 0) - expected;
      const share = 1 + (Math.sign(off) * Math.max(0, Math.abs(off) - granted)) / expected;
      const by = Math.max(
        atLeast === undefined ? -Infinity : atLeast - share,
        atMost === undefined ? -Infinity : share - atMost,
      );
      if (by > worstBy) {
        worst = share;
        worstBy = by;
      }
    }
  }
  return worst;
}

/** Sums windows of `fineMs` into the scenario's own. */
export function coarse(fine: Fine, fromMs: number, toMs: number): number[] {
  const sums = Array.from({ length: fine[0]?.length ?? 0 }, () => 0);
  for (
    let w = Math.floor(fromMs / fineMs);
    w < Math.min(fine.length, Math.floor(toMs / fineMs));
    w++
  ) {
    fine[w]?.forEach((count, place) => {
      sums[place] = (sums[place] ?? 0) + count;
    });
  }
  return sums;
}
