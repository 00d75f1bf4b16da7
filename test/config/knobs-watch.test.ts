// Knobs read again while the agent runs: what changes, what waits for a restart, and
// that a broken file changes nothing.
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { describeReload, KnobsReload, restartKnobs } from '../../src/lib/config/knobs-watch.js';
import { knobsFrom, type KnobSources } from '../../src/lib/config/load.js';
import { InputError } from '../../src/lib/errors.js';

describe('knobs read again', () => {
  let directory: string;
  let path: string;
  let sources: KnobSources;
  let watch: KnobsReload;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'nity-reload-'));
    path = join(directory, 'knobs.yaml');
    writeFileSync(path, 'tickMs: 100\nviscosity: 0.2\n');
    sources = { file: path, flags: ['viscosity=0.3'], environment: { NITY_EPSILON: '0.2' } };
    watch = new KnobsReload(sources, knobsFrom(sources));
  });

  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  it('are the same when nothing changed, or only what a flag or the environment overrules', () => {
    expect(watch.reload()).toEqual({ kind: 'same' });
    writeFileSync(path, '# reordered\nviscosity: 0.9\nepsilon: 5\ntickMs: 100\n');
    const outcome = watch.reload();
    expect(outcome).toEqual({ kind: 'same' });
    expect(describeReload(outcome)).toBe('The knobs were read again: nothing changed.');
  });

  it('tell each change with what it was, and then are the new ones', () => {
    writeFileSync(path, 'tickMs: 250\ndeadBand: 0.5\n');
    const outcome = watch.reload();
    expect(outcome).toEqual({
      kind: 'changed',
      knobs: knobsFrom(sources),
      changes: [
        { name: 'tickMs', from: 100, to: 250 },
        { name: 'deadBand', from: 0.4, to: 0.5 },
      ],
      ignored: [],
    });
    expect(describeReload(outcome)).toBe(
      'The knobs were read again: tickMs 100→250, deadBand 0.4→0.5.',
    );
    expect(watch.reload()).toEqual({ kind: 'same' });
  });

  it('go back to the default when a line is taken out', () => {
    writeFileSync(path, '');
    expect(watch.reload()).toMatchObject({ changes: [{ name: 'tickMs', from: 100, to: 200 }] });
  });

  it('keep what needs a restart as it is, say so each time, and change the rest', () => {
    expect([...restartKnobs]).toEqual(['slotsPerRoute']);
    writeFileSync(path, 'tickMs: 250\nslotsPerRoute: 256\n');
    const why = `slotsPerRoute stays 64 until the agent is restarted, though ${path}:2:16 says 256.`;
    const first = watch.reload();
    expect(first).toMatchObject({
      kind: 'changed',
      knobs: { tickMs: 250, slotsPerRoute: 64 },
      changes: [{ name: 'tickMs' }],
      ignored: [{ name: 'slotsPerRoute', why }],
    });
    const again = watch.reload();
    expect(again).toMatchObject({ knobs: { tickMs: 250, slotsPerRoute: 64 }, changes: [] });
    expect(describeReload(again)).toBe(`The knobs were read again: nothing changed. ${why}`);
    writeFileSync(path, 'tickMs: 250\n');
    expect(watch.reload()).toEqual({ kind: 'same' });
  });

  it.each([
    ['a value out of range', 'tickMs: 250\ndeadBand: 7\n', /knobs\.yaml:2:11: deadBand must be/],
    ['broken YAML', 'tickMs: [', /knobs\.yaml:\d:\d/],
    ['knobs that do not go together', 'tau1Ms: 20000\n', /tau2Ms \(15000\) must be greater/],
    ['a knob that does not exist', 'tikMs: 100\n', /there is no knob tikMs/],
  ])('stay as they were with %s, and take the next good file', (_what, text, message) => {
    writeFileSync(path, text);
    const outcome = watch.reload();
    if (outcome.kind !== 'broken') throw new Error(outcome.kind);
    expect(outcome.problem).toBeInstanceOf(InputError);
    expect(outcome.problem.message).toMatch(message);
    expect(describeReload(outcome)).toMatch(/\. The last good knobs stay in force\.$/);
    writeFileSync(path, 'tickMs: 300\n');
    expect(watch.reload()).toMatchObject({
      kind: 'changed',
      changes: [{ name: 'tickMs', from: 100, to: 300 }],
    });
  });

  it('stay as they were when the file is gone', () => {
    unlinkSync(path);
    const outcome = watch.reload();
    expect(outcome.kind).toBe('broken');
    expect(describeReload(outcome)).toContain(`The knobs file ${path} cannot be read`);
    writeFileSync(path, 'tickMs: 100\n');
    expect(watch.reload()).toEqual({ kind: 'same' });
  });

  it('are the same without a file', () => {
    const bare = { file: undefined, flags: ['tickMs=100'], environment: {} };
    expect(new KnobsReload(bare, knobsFrom(bare)).reload()).toEqual({ kind: 'same' });
  });
});
