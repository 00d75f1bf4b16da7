// The recorder in the agent: what it keeps, when it writes it out, and that the tick
// never hears of its troubles.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, describe, expect, it, vi } from 'vitest';

import { nothingSensed } from '../../src/lib/field/signals.js';
import { FlightRecorder, type FlightOptions } from '../../src/lib/recorder/flight.js';
import { isIdentical, replay, type Replay } from '../../src/lib/recorder/replay.js';
import { openTrace } from '../../src/lib/recorder/trace.js';
import type { RecordableTick } from '../../src/lib/recorder/writer.js';
import { about, ticksOf } from './traces.js';

const root = mkdtempSync(join(tmpdir(), 'nity-flight-'));
afterAll(() => {
  rmSync(root, { recursive: true });
});

class Scene {
  readonly dumps = mkdtempSync(join(root, 'dumps-'));
  readonly said: string[] = [];
  readonly recorder: FlightRecorder;

  constructor(options: Partial<FlightOptions> = {}) {
    const say = (message: string) => this.said.push(message);
    this.recorder = new FlightRecorder({
      record: { kind: 'ring' },
      log: { info: say, warn: say },
      about,
      dumps: this.dumps,
      ...options,
    });
  }

  /** As an agent would: a tick, and then the loop turns. */
  async fly(ticks: readonly RecordableTick[]): Promise<void> {
    for (const tick of ticks) {
      this.recorder.see(tick);
      await turn();
    }
  }

  get written(): string[] {
    return readdirSync(this.dumps)
      .filter((name) => name.endsWith('.trace'))
      .sort();
  }

  replayed(name: string): Replay {
    return replay(openTrace(join(this.dumps, name)));
  }
}

const calm = ticksOf(100);
/** At some tick the valve turns soft, for the node's memory runs out; before it only slots moved. */
const alarming = ticksOf(100, {
  node: (atMs) => {
    const bare = nothingSensed('this is a test');
    const used = 8e9 + Math.max(0, atMs - 8_000) * 2e5;
    const memory = { kind: 'read', value: { used, limit: 1e10 } } as const;
    return { ...bare, usage: { ...bare.usage, memory } };
  },
});
const alarm = alarming.findIndex(({ reasons }) =>
  reasons.some(({ change }) => change.of === 'admission'),
);

describe('the ring', () => {
  it('holds the last ticks, from a snapshot on, in no more bytes than it may', async () => {
    const bytesMost = 20_000;
    const scene = new Scene({ record: { kind: 'ring', bytesMost } });
    await scene.fly(calm);
    const path = await scene.recorder.dump('asked');
    const replayed = replay(openTrace(path ?? ''));
    expect(isIdentical(replayed)).toBe(true);
    expect(replayed.ticks).toBeGreaterThan(10);
    expect(replayed.ticks).toBeLessThan(100);
    expect(scene.said.join()).toContain(scene.dumps);
  });

  it('keeps no tick over more backends than it is meant for, and says so once', async () => {
    const [first] = calm;
    const served = first?.inputs.routes.reduce((sum, { backends }) => sum + backends.length, 0);
    const scene = new Scene({ backendsMost: (served ?? 0) - 1 });
    await scene.fly(calm);
    expect(await scene.recorder.dump('asked')).toBeUndefined();
    expect(scene.said.filter((line) => line.includes('are not kept in memory'))).toHaveLength(1);
    const enough = new Scene({ backendsMost: served ?? 0 });
    await enough.fly(calm);
    expect(await enough.recorder.dump('asked')).toBeDefined();
  });

  it('forgets what is too old', async () => {
    const scene = new Scene({ record: { kind: 'ring', ageMostMs: 4000 } });
    await scene.fly(calm);
    const replayed = replay(openTrace((await scene.recorder.dump('asked')) ?? ''));
    // Twenty ticks, and what is left of the chunk in which the oldest of them lies.
    expect(replayed.ticks).toBeGreaterThanOrEqual(20);
    expect(replayed.ticks).toBeLessThanOrEqual(20 + 3);
  });

  it('is not written out while nothing happens', async () => {
    const scene = new Scene();
    await scene.fly(calm);
    await scene.recorder.close();
    expect(scene.written).toEqual([]);
  });

  it('is written out when admission changes, with the minutes before', async () => {
    const scene = new Scene();
    await scene.fly(alarming.slice(0, alarm + 1));
    await scene.recorder.close();
    expect(scene.written).toHaveLength(1);
    const [name = ''] = scene.written;
    expect(name).toMatch(/admission/);
    expect(scene.replayed(name)).toMatchObject({
      ticks: alarm + 1,
      divergences: { ticks: 0 },
    });
  });

  it('is written out when the heartbeat paused so long that the failsafe came in', async () => {
    const scene = new Scene();
    const [first, second] = calm;
    if (first === undefined || second === undefined) throw new Error('there are no ticks');
    const late = { ...second, inputs: { ...second.inputs, dtMs: second.knobs.tau1Ms } };
    await scene.fly([first, late]);
    await scene.recorder.close();
    expect(scene.written.map((name) => /failsafe/.test(name))).toEqual([true]);
  });

  it('is written out once for the changes of a while, at its end', async () => {
    const scene = new Scene({ dumpEveryMs: 1500 });
    const flapping = alarming.map((tick, i): RecordableTick => {
      const change = { of: 'admission', route: 'r', from: 'normal', to: 'soft' } as const;
      const cause = { kind: 'systemic', isolated: 1, backends: 1 } as const;
      return i % 2 === 0 ? tick : { ...tick, reasons: [{ change, cause }] };
    });
    await scene.fly(flapping);
    await vi.waitFor(
      () => {
        expect(scene.written).toHaveLength(2);
      },
      { timeout: 4000 },
    );
    await scene.recorder.close();
    const [, last = ''] = scene.written;
    expect(scene.replayed(last).ticks).toBe(100);
  });

  it('is written out for a change that still waits when the agent ends', async () => {
    const scene = new Scene();
    const [before, after] = [alarming.slice(0, alarm + 1), alarming.slice(alarm + 1)];
    await scene.fly(before);
    const change = { of: 'override', route: 'r' } as const;
    const cause = { kind: 'override', mode: 'hard' } as const;
    await scene.fly(after.map((tick) => ({ ...tick, reasons: [{ change, cause }] })));
    await vi.waitFor(() => {
      expect(scene.written).toHaveLength(1);
    });
    await scene.recorder.close();
    expect(scene.written).toHaveLength(2);
    const both = replay(openTrace(scene.dumps));
    // Together they are one trace: what both hold counts once.
    expect(both).toMatchObject({ ticks: 100, gaps: [], runs: 1 });
  });

  it('leaves a few files at most, the newest', async () => {
    const scene = new Scene({ dumpsMost: 2 });
    await scene.fly(calm.slice(0, 5));
    for (const why of ['one', 'two', 'three']) await scene.recorder.dump(why);
    expect(scene.written.map((name) => /(one|two|three)/.exec(name)?.[0])).toEqual([
      'two',
      'three',
    ]);
  });

  it('is written out before a crash returns', () => {
    const scene = new Scene();
    for (const tick of calm.slice(0, 7)) scene.recorder.see(tick);
    scene.recorder.crashed();
    const [name = ''] = scene.written;
    expect(scene.replayed(name)).toMatchObject({ ticks: 7, divergences: { ticks: 0 } });
  });
});

describe('trouble of the recorder', () => {
  it('is said, and the ticks that it cost are in the trace as a gap', async () => {
    const scene = new Scene();
    const ticks = calm.slice(0, 20).map((tick, i) => {
      if (i < 8 || i > 10) return tick;
      const broken = {
        get node(): never {
          throw new Error('this signal cannot be packed');
        },
      };
      return { ...tick, inputs: Object.assign(broken, { dtMs: 200, held: false, routes: [] }) };
    });
    await scene.fly(ticks);
    const replayed = replay(openTrace((await scene.recorder.dump('asked')) ?? ''));
    expect(replayed.ticks).toBe(17);
    expect(replayed.divergences.first).toBeNull();
    expect(replayed.gaps).toMatchObject([
      { from: 9, to: 11, ticks: 3, why: 'this signal cannot be packed' },
    ]);
    expect(scene.said.filter((line) => /could not be recorded/.test(line))).toHaveLength(1);
  });

  it('is no reason to wait: of ticks that come without pause some are lost, and told', async () => {
    const scene = new Scene();
    for (const tick of calm) scene.recorder.see(tick);
    const replayed = replay(openTrace((await scene.recorder.dump('asked')) ?? ''));
    expect(replayed.gaps).toMatchObject([{ from: 1, ticks: 100 - replayed.ticks }]);
    expect(replayed.gaps[0]?.why).toBe('the agent was too busy');
    expect(isIdentical(replayed)).toBe(true);
  });

  it('is said when the ring cannot be written out', async () => {
    const notADirectory = join(root, 'file');
    writeFileSync(notADirectory, '');
    const scene = new Scene({ dumps: join(notADirectory, 'dumps') });
    await scene.fly(calm.slice(0, 3));
    expect(await scene.recorder.dump('asked')).toBeUndefined();
    scene.recorder.crashed();
    expect(scene.said).toHaveLength(2);
  });
});

describe('a recorder that is off', () => {
  it('takes ticks and keeps nothing', async () => {
    const scene = new Scene({ record: { kind: 'off' } });
    await scene.fly(alarming);
    expect(await scene.recorder.dump('asked')).toBeUndefined();
    scene.recorder.crashed();
    expect(scene.written).toEqual([]);
  });
});
