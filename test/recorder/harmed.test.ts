// Runs in which an older law harmed healthy backends and their clients: the scenarios
// `ordinary-*` were seen to fail before they held, and what was seen is kept for replay.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { lawVersion } from '../../src/lib/field/law.js';
import { readTrace } from '../../src/lib/recorder/reader.js';
import { isIdentical, isSound, replay } from '../../src/lib/recorder/replay.js';
import { openTrace } from '../../src/lib/recorder/trace.js';

const directory = join(import.meta.dirname, '../fixtures/harmed');

describe.each(readdirSync(directory))('%s', (name) => {
  const path = join(directory, name);

  it('shows a valve that closed, though no backend was worse than another', () => {
    const events = [...readTrace(name, readFileSync(path)).events()];
    const outputs = events.flatMap((event) => (event.kind === 'tick' ? event.tick.outputs : []));
    const closed = outputs.filter(({ mode }) => mode !== 'normal');
    expect(closed.length / outputs.length).toBeGreaterThan(0.1);
  });

  it('is read and replayed to its end, whatever the law is now', () => {
    const trace = openTrace(path);
    const replayed = replay(trace);
    const { law } = trace.first.header;
    expect(replayed.ticks).toBeGreaterThan(100);
    expect(replayed.gaps).toEqual([]);
    expect(isSound(replayed)).toBe(true);
    expect(law !== lawVersion || isIdentical(replayed)).toBe(true);
  });
});
