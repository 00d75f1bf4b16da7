// Traces that older nity have left: they stay readable, and are compared as far as they can be.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { lawVersion } from '../../src/lib/field/law.js';
import { formatVersion } from '../../src/lib/recorder/frame.js';
import { readTrace, type RecordedTick } from '../../src/lib/recorder/reader.js';
import { ownColumns } from '../../src/lib/recorder/records.js';
import { isIdentical, isSound, replay } from '../../src/lib/recorder/replay.js';
import { openTrace } from '../../src/lib/recorder/trace.js';
import { golden, goldenDirectory, goldenName } from './golden.js';

const names = readdirSync(goldenDirectory).sort();
const pathOf = (name: string) => join(goldenDirectory, name);
const fileOf = (name: string) => readTrace(name, readFileSync(pathOf(name)));

function ticksIn(name: string): RecordedTick[] {
  return [...fileOf(name).events()].flatMap((event) => (event.kind === 'tick' ? [event.tick] : []));
}

/** So many of its ticks are recorded; one is told to be lost. */
const recorded = 59;
const todo = 'run `npx tsx test/recorder/golden.ts`, and keep the older traces';

describe.each(names)('the golden trace %s', (name) => {
  it('is read and replayed to its end', () => {
    const trace = openTrace(pathOf(name));
    const replayed = replay(trace);
    expect(replayed.ticks).toBe(recorded);
    expect(replayed.gaps.map(({ from, why }) => [from, why])).toEqual([[51, 'the disk was full']]);
    expect(trace.cutTails).toEqual([]);
  });

  it('comes to the same bits, or is not compared: its law is another', () => {
    const trace = openTrace(pathOf(name));
    const replayed = replay(trace);
    const { law } = trace.first.header;
    expect(replayed.laws).toEqual([law]);
    expect(replayed.differences.of).toBe(law === lawVersion ? 0 : recorded);
    expect(replayed.divergences.first, 'the law says something else: raise lawVersion').toBeNull();
    expect(isSound(replayed)).toBe(true);
    if (law === lawVersion) expect(isIdentical(replayed)).toBe(true);
  });
});

describe('traces of two formats', () => {
  it('are kept', () => {
    const formats = new Set(names.map((name) => fileOf(name).format.minor));
    expect(formats.size).toBeGreaterThanOrEqual(2);
  });

  it('read alike, but for columns that the older lacks: they have their defaults', () => {
    const then = ticksIn('format-1.0.trace');
    const now = ticksIn('format-1.1-law-1.trace');
    expect(now.some(({ tookMs }) => tookMs !== null)).toBe(true);
    expect(then.every(({ tookMs }) => tookMs === null)).toBe(true);
    expect(then.map((tick) => ({ ...tick, tookMs: 0 }))).toEqual(
      now.map((tick) => ({ ...tick, tookMs: 0 })),
    );
  });
});

describe('the golden trace of today', () => {
  it('is there, and its columns are those that are written', () => {
    expect(names, `the format or the law is new: ${todo}`).toContain(goldenName);
    const { header, format } = fileOf(goldenName);
    expect(format).toEqual(formatVersion);
    expect(
      header.columns,
      `columns changed: raise the format's second number, then ${todo}`,
    ).toEqual(Object.fromEntries(ownColumns()));
  });

  it('is written with the same bytes on every machine', () => {
    const same = golden().bytes.equals(readFileSync(pathOf(goldenName)));
    expect(same, `the law or the writer changed: raise its version, then ${todo}`).toBe(true);
  });
});
