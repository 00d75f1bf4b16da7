// Replay: the same inputs through the same law, and what is said when they do not agree.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { defaultKnobs, makeKnobs } from '../../src/lib/config/knobs.js';
import { lawVersion } from '../../src/lib/field/law.js';
import type { BackendField, RouteField } from '../../src/lib/field/types.js';
import type { TickView, Violation } from '../../src/lib/harness/invariant.js';
import { isIdentical, isSound, replay, retuned } from '../../src/lib/recorder/replay.js';
import { Summary } from '../../src/lib/recorder/summary.js';
import { openTrace, type Trace } from '../../src/lib/recorder/trace.js';
import { TraceFileWriter } from '../../src/lib/recorder/trace-file.js';
import { TraceWriter, type RecordableTick } from '../../src/lib/recorder/writer.js';
import { about, ticksOf, traceOf } from './traces.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-replay-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

let files = 0;
function saved(bytes: Buffer): Trace {
  const path = join(directory, `${++files}.trace`);
  writeFileSync(path, bytes);
  return openTrace(path);
}

const troubled = ticksOf(200, {}, (world, tick) => {
  if (tick === 50) world.behaviours.set('c', 'refusing');
  if (tick === 60) world.behaviours.set('d', { slower: 20 });
  if (tick === 100) world.behaviours.clear();
});

/** The ticks, one of which says something else of its route than the law did. */
function lying(at: number, lie: (route: RouteField) => RouteField): RecordableTick[] {
  return troubled.map((tick, i) =>
    i === at ? { ...tick, field: { ...tick.field, routes: tick.field.routes.map(lie) } } : tick,
  );
}

const withBackend = (id: string, change: Partial<BackendField>) => (route: RouteField) => ({
  ...route,
  backends: route.backends.map((b) => (b.id === id ? { ...b, ...change } : b)),
});

/** As a nity of another law would have written them. */
function underLaw(law: number, ticks: readonly RecordableTick[]): Buffer {
  const writer = new TraceWriter({ ...about, law });
  const begin = writer.begin(ticks[0]?.atNs ?? 0n, 0);
  return Buffer.concat([begin, ...ticks.map((tick) => writer.tick(tick))]);
}

describe('a replay', () => {
  it('comes to the very same bits', () => {
    const result = replay(saved(traceOf(troubled)));
    expect(result).toMatchObject({ ticks: 200, divergences: { ticks: 0, first: null }, gaps: [] });
    expect(isIdentical(result)).toBe(true);
  });

  it('names the tick, the route and the backend whose slots differ, and both numbers', () => {
    const was = troubled[70]?.field.routes[0]?.backends[0]?.slots ?? 0;
    const result = replay(saved(traceOf(lying(70, withBackend('a', { slots: was + 1 })))));
    expect(result.divergences).toMatchObject({
      ticks: 1,
      first: {
        ...{ sequence: 71, atMs: 14_000, route: 'r', backend: 'a', field: 'slots' },
        ...{ expected: String(was + 1), got: String(was) },
      },
    });
    expect(isSound(result)).toBe(false);
  });

  it('finds a difference that no operator would see, in the last bit of a weight', () => {
    const route = troubled[70]?.field.routes[0];
    const was = route?.backends[0]?.weight ?? 0;
    const result = replay(
      saved(traceOf(lying(70, withBackend('a', { weight: was * (1 + Number.EPSILON) })))),
    );
    expect(result.divergences).toMatchObject({ ticks: 1, first: { field: 'field hash' } });
  });

  it('finds what the law remembers differently', () => {
    const ticks = troubled.map((tick, i) =>
      i === 70 ? { ...tick, state: { ...tick.state, held: !tick.state.held } } : tick,
    );
    const { divergences } = replay(saved(traceOf(ticks)));
    expect(divergences.first).toMatchObject({ sequence: 71, field: 'state hash' });
  });

  it('finds a reason that is not the same', () => {
    const at = troubled.findIndex(({ reasons }, i) => i > 50 && reasons.length > 0);
    const told = troubled[at]?.reasons[0];
    const ticks = troubled.map((tick, i) => (i === at ? { ...tick, reasons: [] } : tick));
    const { divergences } = replay(saved(traceOf(ticks)));
    expect(divergences.first).toMatchObject({
      ...{ sequence: at + 1, field: 'reasons', expected: 'none', got: JSON.stringify(told) },
    });
  });

  it('of a part compares the part alone, from the state that came before it', () => {
    const trace = () => saved(traceOf(lying(70, withBackend('a', { slots: 1 }))));
    const after = replay(trace(), { fromMs: 20_000, toMs: 30_000 });
    expect(after).toMatchObject({ ticks: 51, firstMs: 20_000, lastMs: 30_000 });
    expect(isIdentical(after)).toBe(true);
    expect(isIdentical(replay(trace(), { fromMs: 10_000, toMs: 15_000 }))).toBe(false);
  });

  it('of one route compares this route alone', () => {
    const trace = () => saved(traceOf(lying(70, withBackend('a', { slots: 1 }))));
    expect(isIdentical(replay(trace(), { route: 'another' }))).toBe(true);
    expect(isIdentical(replay(trace(), { route: 'r' }))).toBe(false);
  });
});

describe('the invariants', () => {
  const violation = (view: TickView): Violation => ({
    ...{ invariant: 'conservation', sequence: view.sequence, atMs: view.atMs },
    ...{ route: 'r', backend: null, seen: 1, limit: 0, says: 'slots were lost' },
  });

  it('are asked about every tick of the part, and a violation is no sound run', () => {
    const seen: TickView[] = [];
    const result = replay(saved(traceOf(troubled)), {
      fromMs: 10_000,
      toMs: 20_000,
      watch: {
        see(view) {
          seen.push(view);
          return view.sequence === 80 ? [violation(view)] : [];
        },
        verdicts: () => [],
      },
    });
    expect(seen.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 51 }, (_, i) => 51 + i),
    );
    expect(result).toMatchObject({ violations: 1, firstViolation: { sequence: 80 } });
    expect(isIdentical(result)).toBe(true);
    expect(isSound(result)).toBe(false);
  });
});

describe('a trace of another law', () => {
  it('is not compared: what differs is no fault', () => {
    const ticks = lying(70, withBackend('a', { slots: 1 }));
    const result = replay(saved(underLaw(lawVersion + 1, ticks)));
    expect(result).toMatchObject({
      laws: [lawVersion + 1],
      divergences: { ticks: 0, first: null },
      differences: { ticks: 1, of: 200, first: { sequence: 71, field: 'slots' } },
    });
    expect(isSound(result)).toBe(true);
    expect(isIdentical(result)).toBe(false);
  });

  it('is called identical where the two laws happen to agree', () => {
    const result = replay(saved(underLaw(lawVersion + 1, troubled)));
    expect(isIdentical(result)).toBe(true);
    expect(result.differences.of).toBe(200);
  });
});

describe('other knobs', () => {
  const tried = (knobs: Partial<typeof defaultKnobs>) => {
    const summary = new Summary();
    const result = replay(saved(traceOf(troubled)), {
      retune: retuned((recorded) => makeKnobs({ ...recorded, ...knobs })),
      onTick: (seen) => {
        summary.see(seen);
      },
    });
    return { result, summary };
  };

  it('show what they change, and that is no divergence', () => {
    const { result, summary } = tried({ viscosity: 0.01 });
    expect(result.divergences.ticks).toBe(0);
    expect(result.differences).toMatchObject({ of: 200 });
    expect(isSound(result)).toBe(true);
    const [contrast] = summary.contrasts;
    expect(contrast).toMatchObject({ route: 'r' });
    expect(contrast?.share).toBeGreaterThan(0);
    expect(contrast?.firstMs).toBeGreaterThan(50 * 200);
  });

  it('go on from the slots that they came to, not from those that were recorded', () => {
    let last: readonly number[] | undefined;
    let apart = 0;
    replay(saved(traceOf(troubled)), {
      retune: retuned((recorded) => makeKnobs({ ...recorded, viscosity: 0.01 })),
      onTick({ field, tick }) {
        const backends = field.routes[0]?.backends ?? [];
        if (last !== undefined) expect(backends.map(({ before }) => before)).toEqual(last);
        last = backends.map(({ slots }) => slots);
        if (last.some((slots, i) => slots !== tick.outputs[0]?.slots[i])) apart++;
      },
    });
    expect(apart).toBeGreaterThan(10);
  });

  it('that are those that were recorded change nothing', () => {
    const { viscosity } = defaultKnobs;
    const { result, summary } = tried({ viscosity });
    expect(isIdentical(result)).toBe(true);
    expect(summary.contrasts).toEqual([]);
  });
});

describe('the summary', () => {
  const summary = new Summary();
  replay(saved(traceOf(troubled)), {
    onTick: (seen) => {
      summary.see(seen);
    },
  });
  const [route] = summary.replayed.routes;

  it('says how long each mode and regime lasted', () => {
    const all = [...(route?.regimesMs.values() ?? [])].reduce((sum, ms) => sum + ms, 0);
    expect(all).toBe(200 * 200);
    expect(route?.regimesMs.get('transition')).toBeGreaterThan(0);
  });

  it('draws the whole time in a bounded number of columns', () => {
    expect(summary.replayed.width).toBeLessThanOrEqual(80);
    expect(summary.replayed.width * summary.replayed.columnMs).toBeGreaterThanOrEqual(200 * 200);
    const shares = route?.columns.map((column) => column?.shares.get('c') ?? -1) ?? [];
    expect(shares[0]).toBeCloseTo(0.1, 1);
    expect(Math.min(...shares)).toBeLessThan(0.01);
  });

  it('counts the reasons by what they changed and why', () => {
    const told = troubled.flatMap(({ reasons }) => reasons);
    expect(summary.reasons.reduce((sum, { count }) => sum + count, 0)).toBe(told.length);
    expect(summary.reasons).toContainEqual(
      expect.objectContaining({ change: 'slots', cause: 'isolation' }),
    );
  });
});

describe('a trace file written at once', () => {
  it('is the same bytes for the same ticks, and holds agents that follow each other', () => {
    const paths = ['one', 'two'].map((name) => join(directory, `${name}.trace`));
    for (const path of paths) {
      const writer = new TraceFileWriter(path, { run: 'slow-replica, seed 7' });
      for (const tick of troubled) writer.see(tick);
      // Another agent took over, and counts from one again.
      for (const tick of ticksOf(20)) writer.see({ ...tick, atNs: tick.atNs + 60_000_000_000n });
      writer.close();
    }
    const [one, two] = paths.map((path) => replay(openTrace(path)));
    expect(one).toEqual(two);
    expect(one).toMatchObject({ ticks: 220, gaps: [] });
    expect(one !== undefined && isIdentical(one)).toBe(true);
  });
});
