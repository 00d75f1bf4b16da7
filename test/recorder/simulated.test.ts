// A simulated run leaves a trace that replays as a real agent's does.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { simulate } from '../../src/lib/harness/run.js';
import { parseScenario } from '../../src/lib/harness/scenario.js';
import { isIdentical, replay } from '../../src/lib/recorder/replay.js';
import { Summary } from '../../src/lib/recorder/summary.js';
import { openTrace } from '../../src/lib/recorder/trace.js';
import { TraceFileWriter } from '../../src/lib/recorder/trace-file.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-simulated-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function recorded(name: string, scenarioName: string, durationMs: number): string {
  const file = join(import.meta.dirname, `../scenarios/${scenarioName}.yaml`);
  const parsed = parseScenario(readFileSync(file, 'utf8'), file);
  if (!parsed.ok) throw new Error(`${file} is no scenario`);
  const { scenario } = parsed;
  const path = join(directory, name);
  const writer = new TraceFileWriter(path, { run: `${scenarioName}, seed 7` });
  simulate({
    scenario: { ...scenario, duration: durationMs, phases: {}, limits: [] },
    policy: 'nity',
    seed: 7,
    onTick: (node, _nowMs, tick) => {
      if (node === 0) writer.see(tick);
    },
  });
  writer.close();
  return path;
}

describe('the trace of a simulated run', () => {
  it('replays to the bit, and tells of the fault', () => {
    const summary = new Summary();
    const path = recorded('one.trace', 'slow-replica', 20_000);
    const replayed = replay(openTrace(path), {
      onTick: (seen) => {
        summary.see(seen);
      },
    });
    expect(replayed.ticks).toBeGreaterThanOrEqual(99);
    expect(isIdentical(replayed)).toBe(true);
    expect(summary.reasons.map(({ change }) => change)).toContain('slots');
  });

  it('is the same bytes for the same seed', () => {
    const one = readFileSync(recorded('two.trace', 'slow-replica', 5_000));
    expect(readFileSync(recorded('three.trace', 'slow-replica', 5_000)).equals(one)).toBe(true);
  });

  it('goes on over an agent that dies and another that takes its place', () => {
    const replayed = replay(openTrace(recorded('four.trace', 'agent-death', 60_000)));
    expect(isIdentical(replayed)).toBe(true);
    expect(replayed.gaps).toEqual([]);
  });
});
