// Durations as operators write them: 500ms, 30s, 10m, 2h.
import { UsageError } from '../errors.js';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A year. Beyond some centuries the kernel's 64-bit nanoseconds would begin anew. */
const yearMs = 8_784 * 3_600_000;

export interface DurationBounds {
  readonly leastMs?: number;
  readonly mostMs?: number;
}

export function parseDuration(
  text: string,
  flag: string,
  { leastMs = 0, mostMs }: DurationBounds = {},
): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const scale = unitsMs[unit];
  if (amount === undefined || scale === undefined) {
    throw new UsageError(
      `${flag} ${text} is not a duration.`,
      'Write it as 500ms, 30s, 10m or 2h.',
    );
  }
  const ms = Math.round(Number(amount) * scale);
  const both = leastMs > 0 && mostMs !== undefined;
  const within = both ? `Give ${briefly(leastMs)} to ${briefly(mostMs)}.` : undefined;
  if (ms < leastMs) {
    const hint = within ?? `Give ${briefly(leastMs)} or more.`;
    throw new UsageError(`${flag} ${text} is too short.`, hint);
  }
  const limitMs = mostMs ?? yearMs;
  if (ms > limitMs) {
    const hint = within ?? `Give ${briefly(limitMs)} or less.`;
    throw new UsageError(`${flag} ${text} is too long.`, hint);
  }
  return ms;
}

/** A bound, in the largest unit that it is whole in. */
function briefly(ms: number): string {
  const [unit = 'ms', scale = 1] =
    Object.entries(unitsMs).findLast(([, of]) => ms % of === 0) ?? [];
  return `${ms / scale}${unit}`;
}

export function showDuration(ms: number | null): string {
  if (ms === null) return '-';
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)}m${Math.floor((ms % 60_000) / 1000)}s`;
  return `${Math.floor(ms / 3_600_000)}h${Math.floor((ms % 3_600_000) / 60_000)}m`;
}
