// Durations as operators write them: 500ms, 30s, 10m, 2h.
import { UsageError } from '../errors.js';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A year. Beyond some centuries the kernel's 64-bit nanoseconds would begin anew. */
const hoursMost = 8784;

export function parseDuration(text: string, flag: string): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const scale = unitsMs[unit];
  if (amount === undefined || scale === undefined) {
    throw new UsageError(
      `${flag} ${text} is not a duration.`,
      'Write it as 500ms, 30s, 10m or 2h.',
    );
  }
  const ms = Math.round(Number(amount) * scale);
  if (ms > hoursMost * 3_600_000) {
    throw new UsageError(`${flag} ${text} is too long.`, `Give ${hoursMost}h, a year, or less.`);
  }
  return ms;
}

export function showDuration(ms: number | null): string {
  if (ms === null) return '-';
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)}m${Math.floor((ms % 60_000) / 1000)}s`;
  return `${Math.floor(ms / 3_600_000)}h${Math.floor((ms % 3_600_000) / 60_000)}m`;
}
