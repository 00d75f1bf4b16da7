// A series in a line of text.

const levels = '▁▂▃▄▅▆▇█';

/** Values from 0 to `most`; nothing is blank, and 0 is not nothing. */
export function sparkline(values: readonly (number | undefined)[], most: number): string {
  return values
    .map((value) => {
      if (value === undefined) return ' ';
      const level = most <= 0 ? 0 : Math.round((value / most) * (levels.length - 1));
      return levels[Math.max(0, Math.min(levels.length - 1, level))] ?? ' ';
    })
    .join('');
}
