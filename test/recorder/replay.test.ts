// Replay: the same inputs through the same law, and what is said when they do not agree.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { replay } from '../../src/lib/recorder/replay.js';
import { openTrace } from '../../src/lib/recorder/trace.js';
import { ticksOf, traceOf } from './traces.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-replay-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const saved = (name: string, bytes: Buffer) => {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return openTrace(path);
};

const troubled = () =>
  ticksOf(200, {}, (world, tick) => {
    if (tick === 50) world.behaviours.set('c', 'refusing');
    if (tick === 60) world.behaviours.set('d', { slower: 20 });
    if (tick === 100) world.behaviours.clear();
  });

describe('a replay', () => {
  it('comes to the very same bits', () => {
    const bytes = traceOf(troubled());
    const result = replay(saved('same.trace', bytes));
    expect(result).toMatchObject({ ticks: 200, divergences: { ticks: 0, first: null }, gaps: [] });
  });
});
