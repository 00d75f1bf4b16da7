// Durations as operators write and read them.
import { describe, expect, it } from 'vitest';

import { parseDuration, showDuration } from '../../src/lib/cli/duration.js';
import { UsageError } from '../../src/lib/errors.js';

describe('a duration that an operator writes', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['8784h', 31_622_400_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text, '--ttl')).toBe(ms);
  });

  it.each(['', '30', 's', '-1s', '1e3s', '30 s', '1d', '30s '])('%j is none', (text) => {
    expect(() => parseDuration(text, '--ttl')).toThrow(UsageError);
  });

  it.each(['8785h', '99999999h', `${'9'.repeat(400)}s`])(
    'never reaches past what the kernel’s clock can say: %.9s',
    (text) => {
      expect(() => parseDuration(text, '--ttl')).toThrow(/^--ttl .* is too long\.$/);
    },
  );

  it.each([
    ['10ms', { leastMs: 100, mostMs: 3_600_000 }, 'Give 100ms to 1h.'],
    ['2h', { leastMs: 100, mostMs: 3_600_000 }, 'Give 100ms to 1h.'],
    ['2h', { mostMs: 3_600_000 }, 'Give 1h or less.'],
    ['10ms', { leastMs: 100 }, 'Give 100ms or more.'],
  ])('%s is told what may be given, within %j: %s', (text, bounds, hint) => {
    expect(() => parseDuration(text, '--ttl', bounds)).toThrow(expect.objectContaining({ hint }));
  });
});

describe('a duration that an operator reads', () => {
  it.each([
    [null, '-'],
    [0, '0ms'],
    [999, '999ms'],
    [1_000, '1.0s'],
    [59_900, '59.9s'],
    [60_000, '1m0s'],
    [3_599_999, '59m59s'],
    [3_600_000, '1h0m'],
    [90_061_000, '25h1m'],
  ])('%s ms is %s', (ms, text) => {
    expect(showDuration(ms)).toBe(text);
  });
});
