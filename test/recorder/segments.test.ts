// The record on disk: bounded, whole after kill -9, and back after a full disk.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';

import { FlightRecorder } from '../../src/lib/recorder/flight.js';
import { isIdentical, replay } from '../../src/lib/recorder/replay.js';
import type { SegmentLimits } from '../../src/lib/recorder/segments.js';
import { openTrace } from '../../src/lib/recorder/trace.js';
import type { RecordableTick } from '../../src/lib/recorder/writer.js';
import { about, ticksOf } from './traces.js';

const root = mkdtempSync(join(tmpdir(), 'nity-segments-'));
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

const ticks = ticksOf(400, {}, (world, tick) => {
  if (tick === 100) world.behaviours.set('c', 'refusing');
});

class Scene {
  readonly said: string[] = [];
  readonly recorder: FlightRecorder;

  constructor(
    readonly directory = mkdtempSync(join(root, 'traces-')),
    limits: Partial<SegmentLimits> = {},
  ) {
    const say = (message: string) => this.said.push(message);
    this.recorder = new FlightRecorder({
      record: { kind: 'disk', directory, ...limits },
      log: { info: say, warn: say },
      about,
    });
  }

  async fly(flown: readonly RecordableTick[], pauseMs = 0): Promise<void> {
    for (const tick of flown) {
      this.recorder.see(tick);
      await (pauseMs === 0 ? turn() : sleep(pauseMs));
    }
  }

  get bytes(): number {
    return readdirSync(this.directory).reduce(
      (sum, name) => sum + statSync(join(this.directory, name)).size,
      0,
    );
  }
}

describe('a record on disk', () => {
  it('is one trace over all its files, which each can be replayed alone', async () => {
    const scene = new Scene(undefined, { bytesMost: 400_000 });
    await scene.fly(ticks);
    await scene.recorder.close();
    const files = readdirSync(scene.directory).sort();
    expect(files.length).toBeGreaterThan(2);
    const whole = replay(openTrace(scene.directory));
    expect(whole).toMatchObject({ ticks: 400, gaps: [], runs: 1 });
    expect(isIdentical(whole)).toBe(true);
    for (const file of files) {
      const alone = replay(openTrace(join(scene.directory, file)));
      expect(alone.ticks).toBeGreaterThan(0);
      expect(isIdentical(alone)).toBe(true);
    }
  });

  it('never fills more than it may, whatever an earlier run has left', async () => {
    const bytesMost = 60_000;
    const first = new Scene(undefined, { bytesMost });
    await first.fly(ticks);
    await first.recorder.close();
    expect(first.bytes).toBeLessThanOrEqual(bytesMost * 1.1);
    await sleep(2);
    const second = new Scene(first.directory, { bytesMost });
    await second.fly(ticks);
    await second.recorder.close();
    expect(second.bytes).toBeLessThanOrEqual(bytesMost * 1.1);
    expect(isIdentical(replay(openTrace(second.directory)))).toBe(true);
  });

  it('says where a file was taken out of it', async () => {
    const scene = new Scene(undefined, { bytesMost: 400_000 });
    await scene.fly(ticks);
    await scene.recorder.close();
    const [, second = ''] = readdirSync(scene.directory).sort();
    const missing = replay(openTrace(join(scene.directory, second))).ticks;
    rmSync(join(scene.directory, second));
    const { gaps, divergences } = replay(openTrace(scene.directory));
    expect(gaps).toMatchObject([{ ticks: missing, why: 'they are not in the trace' }]);
    expect(divergences.first).toBeNull();
  });

  it('leaves out files that were never begun', async () => {
    const scene = new Scene(undefined, { bytesMost: 400_000 });
    await scene.fly(ticks);
    await scene.recorder.close();
    const [first = ''] = readdirSync(scene.directory).sort();
    const head = readFileSync(join(scene.directory, first)).subarray(0, 1000);
    for (const [i, bytes] of [0, 5, 17, 1000].entries()) {
      const name = first.replace('000001', `000001-${i}`);
      writeFileSync(join(scene.directory, name), head.subarray(0, bytes));
    }
    const whole = replay(openTrace(scene.directory));
    expect(whole).toMatchObject({ ticks: 400, gaps: [] });
    writeFileSync(join(scene.directory, 'nity-foreign.trace'), 'services:');
    expect(() => replay(openTrace(scene.directory))).toThrow(/byte 0: this is not a trace/);
  });

  it('is refused at once where it cannot be', () => {
    const file = join(root, 'a-file');
    writeFileSync(file, '');
    expect(() => new Scene(join(file, 'traces'))).toThrow(/cannot be recorded to: ENOTDIR/);
  });

  it('is whole when the process dies by an error, even of its first ticks', async () => {
    for (const flown of [1, 3, 50]) {
      const scene = new Scene();
      for (const tick of ticks.slice(0, flown)) scene.recorder.see(tick);
      scene.recorder.crashed();
      const seen = replay(openTrace(scene.directory));
      expect(seen.ticks).toBe(flown);
      await scene.recorder.close();
      expect(replay(openTrace(scene.directory))).toEqual(seen);
    }
  });

  it('is whole after kill -9, but for the tick under way', async () => {
    const directory = join(root, 'killed');
    const victim = join(import.meta.dirname, 'victim.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', victim, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.split('\n').length > 150) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const acknowledged = said.split('\n').length - 2;
    const trace = openTrace(directory);
    const replayed = replay(trace);
    expect(replayed.ticks).toBeGreaterThanOrEqual(acknowledged - 2);
    expect(replayed.gaps).toEqual([]);
    expect(isIdentical(replayed)).toBe(true);
  }, 30_000);

  it('goes on after a run whose last file was cut anywhere', async () => {
    const first = new Scene();
    await first.fly(ticks.slice(0, 40));
    await first.recorder.close();
    const [file = ''] = readdirSync(first.directory);
    const path = join(first.directory, file);
    truncateSync(path, statSync(path).size - 5);
    await sleep(2);
    const second = new Scene(first.directory);
    await second.fly(ticks.slice(40, 80));
    await second.recorder.close();
    const trace = openTrace(first.directory);
    const replayed = replay(trace);
    expect(replayed.ticks).toBe(79);
    expect(trace.cutTails).toMatchObject([{ file: path }]);
    expect(isIdentical(replayed)).toBe(true);
  });
});

/** A disk of its own, that can be filled; undefined where it cannot be mounted. */
function smallDisk(): string | undefined {
  const at = join(root, 'disk');
  mkdirSync(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'nity-test', at], { stdio: 'pipe' });
    return at;
  } catch {
    return undefined;
  }
}

const disk = smallDisk();
afterAll(() => {
  if (disk !== undefined) execFileSync('umount', [disk]);
});
if (disk === undefined) console.warn('skipped: a tmpfs cannot be mounted here, so no disk is full');

describe.skipIf(disk === undefined)('a full disk', () => {
  it('costs ticks, which are told of when there is room again, and nothing else', async () => {
    const at = disk ?? '';
    const directory = join(at, 'traces');
    const ballast = join(at, 'ballast');
    const scene = new Scene(directory, { retryMs: 5 });
    await scene.fly(ticks.slice(0, 30));
    await scene.recorder.dump('asked');
    try {
      for (;;) appendFileSync(ballast, Buffer.alloc(4096));
    } catch {
      // It is full.
    }
    await scene.fly(ticks.slice(30, 100), 1);
    rmSync(ballast);
    let flown = 100;
    const goesOn = () => scene.said.some((line) => /recording goes on/.test(line));
    for (; flown < 380 && !goesOn(); flown++) await scene.fly(ticks.slice(flown, flown + 1), 5);
    await scene.fly(ticks.slice(flown, flown + 20));
    await scene.recorder.close();
    const replayed = replay(openTrace(directory));
    const [gap, ...more] = replayed.gaps;
    expect(more).toEqual([]);
    expect(gap?.why).toContain('the disk was full');
    expect(gap?.ticks).toBe(flown + 20 - replayed.ticks);
    expect(gap?.from).toBeGreaterThan(30);
    expect(replayed.ticks).toBeGreaterThan(50);
    expect(isIdentical(replayed)).toBe(true);
    expect(
      scene.said.filter((line) => /recording pauses: the disk was full/.test(line)),
    ).toHaveLength(1);
    expect(scene.said.at(-1)).toContain(`${gap?.ticks ?? 0} ticks were lost`);
    expect(existsSync(ballast)).toBe(false);
  });

  it('keeps the ring from being written out, and leaves no half of it', async () => {
    const at = disk ?? '';
    const ballast = join(at, 'ballast');
    const said: string[] = [];
    const say = (message: string) => said.push(message);
    const log = { info: say, warn: say };
    const dumps = join(at, 'dumps');
    mkdirSync(dumps);
    const recorder = new FlightRecorder({ record: { kind: 'ring' }, log, about, dumps });
    for (const tick of ticks.slice(0, 60)) recorder.see(tick);
    try {
      for (;;) appendFileSync(ballast, Buffer.alloc(4096));
    } catch {
      // It is full.
    }
    expect(await recorder.dump('asked')).toBeUndefined();
    recorder.crashed();
    expect(readdirSync(dumps)).toEqual([]);
    expect(said.map((line) => /ENOSPC/.test(line))).toEqual([true, true]);
    rmSync(ballast);
  });
});
