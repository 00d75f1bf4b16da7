// Numbers in five columns or fewer, for people.

/** "1 route", "2 routes". */
export function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

const units = ['', 'k', 'M', 'G', 'T'] as const;

/** 0, 7.5, 123, 1.2k, 45k, 3.1M. */
export function count(value: number): string {
  let scaled = value;
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits = scaled >= 99.5 || (unit === 0 && Number.isInteger(scaled)) ? 0 : 1;
  return `${scaled.toFixed(scaled >= 9.95 && unit > 0 ? 0 : digits)}${units[unit] ?? ''}`;
}

/** 85µs, 1.2ms, 430ms, 2.5s; a dash where there is none. */
export function latency(us: number | null): string {
  if (us === null) return '-';
  if (us < 999.5) return `${us.toFixed(0)}µs`;
  const ms = us / 1000;
  if (ms < 9.95) return `${ms.toFixed(1)}ms`;
  if (ms < 999.5) return `${ms.toFixed(0)}ms`;
  const seconds = ms / 1000;
  return seconds < 99.5 ? `${seconds.toFixed(1)}s` : `${(seconds / 60).toFixed(0)}min`;
}
