// Arithmetic that is the same bit for bit on every machine and every Node: only
// the operations that IEEE 754 rounds exactly, for Math.log2 and its friends may
// differ from one engine to the next.

const bits = new DataView(new ArrayBuffer(8));

/** 1 / ln 2. */
const perLn2 = 1.4426950408889634;
const ln2 = 0.6931471805599453;

/** log2 of a positive, normal number; within 1e-9 of the truth. */
export function log2(x: number): number {
  bits.setFloat64(0, x);
  const high = bits.getUint32(0);
  const exponent = (high >>> 20) - 1023;
  // The mantissa alone, in [1, 2).
  bits.setUint32(0, (high & 0x000f_ffff) | 0x3ff0_0000);
  const t = (bits.getFloat64(0) - 1) / (bits.getFloat64(0) + 1);
  const t2 = t * t;
  // ln m = 2 artanh t, |t| <= 1/3 (Abramowitz and Stegun 4.1.27).
  const series =
    1 + t2 * (1 / 3 + t2 * (1 / 5 + t2 * (1 / 7 + t2 * (1 / 9 + t2 * (1 / 11 + t2 / 13)))));
  return exponent + 2 * t * series * perLn2;
}

/** 2^x for |x| <= 1000; within 1e-9 of the truth, relatively. */
export function exp2(x: number): number {
  const clipped = Math.max(-1000, Math.min(1000, x));
  const whole = Math.floor(clipped);
  const y = (clipped - whole) * ln2;
  // The Taylor series of e^y, 0 <= y < ln 2, to y^11 (Horner).
  let series = 1;
  for (let n = 11; n >= 1; n--) series = 1 + (y * series) / n;
  bits.setUint32(0, (whole + 1023) << 20);
  bits.setUint32(4, 0);
  return bits.getFloat64(0) * series;
}

/** What cannot be missing: arrays that are made side by side have the same length. */
export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('The law joined two lists of different lengths.');
  return value;
}

/**
 * The weight of the newest sample in a moving average of time constant `tauMs`:
 * the backward Euler step of dx/dt = (u - x)/tau.
 */
export function gain(dtMs: number, tauMs: number): number {
  return dtMs / (dtMs + tauMs);
}

/** A missing sample leaves the average as it is; the first one is it. */
export function average(
  before: number | null,
  sample: number | null,
  alpha: number,
): number | null {
  if (sample === null) return before;
  return before === null ? sample : before + alpha * (sample - before);
}

/** What a fading count is when nothing of it is left: it would fade for ever. */
const spent = 1e-3;

/** A fading count, or 0 once it is spent. */
export function faded(count: number): number {
  return count < spent ? 0 : count;
}

export function sum(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** The lower median: a value that occurs, so one wild backend cannot invent it; null of none. */
export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  return sorted[(sorted.length - 1) >> 1] ?? null;
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
