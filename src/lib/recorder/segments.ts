// The continuous record on disk: segments that each begin with a snapshot, the oldest
// of which go. Nothing here waits for the disk but a loop of its own; what the disk
// does not take is lost, and said.
import { accessSync, closeSync, constants, mkdirSync, openSync, type Stats } from 'node:fs';
import { mkdir, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

import { errnoOf, InputError } from '../errors.js';
import { stampOf, writeWhole } from './dumps.js';
import { traceSuffix } from './trace.js';
import type { Gap } from './records.js';
import type { RecordableTick, TraceWriter } from './writer.js';

export interface SegmentLimits {
  /** Of all segments together. */
  readonly bytesMost: number;
  readonly ageMostMs: number;
  /** Of what waits for the disk. */
  readonly queueMost?: number;
  /** After the disk refused, until it is tried again. */
  readonly retryMs?: number;
}

export interface SegmentLog {
  warn(message: string): void;
  info(message: string): void;
}

const segmentPart = 8;
const queueMostByDefault = 32 << 20;
const retryMsByDefault = 2_000;
/** A disk that stays full is asked ever less often. */
const retryMsMost = 60_000;

interface Job {
  readonly bytes: Buffer;
  /** The tick whose bytes these are, with the gap that they tell; or the file that they begin. */
  readonly of:
    { readonly sequence: number; readonly gap: Gap | undefined } | { readonly file: string };
}

interface OpenSegment {
  readonly path: string;
  readonly file: FileHandle;
  /** Whole records. */
  bytes: number;
}

export class Segments {
  private readonly queue: Job[] = [];
  private queued = 0;
  private working: Promise<void> | undefined;
  private writing: Job | undefined;
  private segment: OpenSegment | undefined;
  /** Of the segment that the next tick goes to; undefined: it begins one. */
  private planned: { readonly atNs: bigint; bytes: number } | undefined;
  private readonly stamp = stampOf(Date.now());
  private count = 0;
  private failingUntilMs: number | undefined;
  private lost = 0;
  private retryMs: number;
  /** All was written at once, and the process dies: whatever comes after is not taken. */
  private over = false;

  /** Throws if `directory` cannot be made or written to. */
  constructor(
    readonly directory: string,
    private readonly writer: TraceWriter,
    private readonly limits: SegmentLimits,
    private readonly log: SegmentLog,
  ) {
    this.retryMs = limits.retryMs ?? retryMsByDefault;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      accessSync(directory, constants.W_OK);
    } catch (error) {
      throw new InputError(
        `${directory} cannot be recorded to: ${errnoOf(error) ?? String(error)}.`,
        'Name a directory that can be written to with --record.',
        error,
      );
    }
  }

  take(tick: RecordableTick, wallMs: number): void {
    if (this.over) return;
    const { sequence, atNs } = tick;
    const { bytesMost, ageMostMs, queueMost = queueMostByDefault } = this.limits;
    if (this.failingUntilMs !== undefined && performance.now() < this.failingUntilMs) {
      this.lose(sequence, sequence, 1, 'the disk took nothing');
      return;
    }
    if (this.queued > queueMost) {
      this.lose(sequence, sequence, 1, 'the disk was too slow');
      this.fail('the disk is too slow for it');
      return;
    }
    const { planned } = this;
    const full =
      planned === undefined ||
      planned.bytes >= bytesMost / segmentPart ||
      Number(atNs - planned.atNs) / 1e6 >= ageMostMs / segmentPart;
    if (full) {
      this.planned = { atNs, bytes: 0 };
      this.count++;
      const name = `nity-${this.stamp}-${process.pid}-${String(this.count).padStart(6, '0')}`;
      const file = join(this.directory, name + traceSuffix);
      this.enqueue({ bytes: this.writer.begin(atNs, wallMs), of: { file } });
    }
    const gap = this.writer.untold;
    this.enqueue({ bytes: this.writer.tick(tick), of: { sequence, gap } });
  }

  /** When all that was taken is on its file, or lost. */
  async settled(): Promise<void> {
    await this.working;
  }

  async close(): Promise<void> {
    await this.working;
    await this.segment?.file.close();
    this.segment = undefined;
  }

  /** For a process that dies: what waits is written here and now, again if it was under way. */
  flushNow(): void {
    if (this.over) return;
    this.over = true;
    const jobs = this.queue.splice(0);
    if (this.writing !== undefined) jobs.unshift(this.writing);
    let fd = this.segment?.file.fd;
    let position = this.segment?.bytes ?? 0;
    let own: number | undefined;
    try {
      for (const { bytes, of } of jobs) {
        if ('file' in of) {
          if (own !== undefined) closeSync(own);
          fd = own = openSync(of.file, 'w', 0o600);
          position = 0;
        }
        if (fd === undefined) return;
        writeWhole(fd, bytes, position);
        position += bytes.length;
      }
    } finally {
      if (own !== undefined) closeSync(own);
    }
  }

  private enqueue(job: Job): void {
    this.queue.push(job);
    this.queued += job.bytes.length;
    if (this.planned !== undefined) this.planned.bytes += job.bytes.length;
    this.working ??= this.work().finally(() => {
      this.working = undefined;
    });
  }

  private async work(): Promise<void> {
    for (let job = this.queue.shift(); job !== undefined; job = this.queue.shift()) {
      this.writing = job;
      try {
        await this.write(job);
        this.queued -= job.bytes.length;
        if ('sequence' in job.of) this.recovered();
      } catch (error) {
        if (this.over) return;
        await this.giveUp(job, error);
      }
      this.writing = undefined;
    }
  }

  private async write({ bytes, of }: Job): Promise<void> {
    if ('file' in of) {
      await this.segment?.file.close();
      this.segment = undefined;
      await mkdir(this.directory, { recursive: true, mode: 0o700 });
      await this.prune();
      this.segment = { path: of.file, file: await open(of.file, 'wx', 0o600), bytes: 0 };
    }
    const { segment } = this;
    if (segment === undefined) throw new Error('no segment is open');
    const { bytes: begin, file } = segment;
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, begin + done);
      done += bytesWritten;
    }
    segment.bytes += bytes.length;
  }

  /** What waited builds on what failed: all of it is lost, and a new segment begins after it. */
  private async giveUp(failed: Job, error: unknown): Promise<void> {
    const jobs = [failed, ...this.queue.splice(0)];
    for (const { of } of jobs) if ('gap' in of && of.gap !== undefined) this.writer.lose(of.gap);
    const sequences = jobs.flatMap(({ of }) => ('sequence' in of ? [of.sequence] : []));
    this.queued = 0;
    this.planned = undefined;
    const code = errnoOf(error) ?? String(error);
    const why = code === 'ENOSPC' || code === 'EDQUOT' ? 'the disk was full' : `the disk: ${code}`;
    this.lose(sequences[0] ?? 0, sequences.at(-1) ?? 0, sequences.length, why);
    this.fail(why);
    const { segment } = this;
    this.segment = undefined;
    if (segment === undefined) return;
    // A cut record reads as a cut tail; without it the segment ends clean.
    await segment.file.truncate(segment.bytes).catch(() => undefined);
    await segment.file.close().catch(() => undefined);
    if (segment.bytes === 0) await rm(segment.path, { force: true }).catch(() => undefined);
  }

  private lose(from: number, to: number, ticks: number, why: string): void {
    this.planned = undefined;
    this.lost += ticks;
    if (ticks > 0) this.writer.lose({ from, to, ticks, why });
    else this.writer.restart();
  }

  private fail(why: string): void {
    const first = this.failingUntilMs === undefined;
    this.failingUntilMs = performance.now() + this.retryMs;
    this.retryMs = Math.min(retryMsMost, this.retryMs * 2);
    if (first)
      this.log.warn(`recording pauses: ${why}; it goes on when ${this.directory} has room`);
  }

  private recovered(): void {
    // What still waited when the disk was found too slow does not say that it is fast again.
    if (this.failingUntilMs === undefined || performance.now() < this.failingUntilMs) return;
    this.failingUntilMs = undefined;
    this.retryMs = this.limits.retryMs ?? retryMsByDefault;
    this.log.info(`recording goes on in ${this.directory}; ${this.lost} ticks were lost`);
    this.lost = 0;
  }

  /** Makes room for one segment more; those of earlier runs count, and go first. */
  private async prune(): Promise<void> {
    const { bytesMost, ageMostMs } = this.limits;
    const names = (await readdir(this.directory))
      .filter((name) => name.startsWith('nity-') && name.endsWith(traceSuffix))
      .sort();
    const kept: { readonly path: string; readonly stats: Stats }[] = [];
    for (const name of names) {
      const path = join(this.directory, name);
      const stats = await stat(path).catch(() => undefined);
      if (stats !== undefined) kept.push({ path, stats });
    }
    let bytes = kept.reduce((sum, { stats }) => sum + stats.size, 0);
    const room = bytesMost - bytesMost / segmentPart;
    for (const { path, stats } of kept) {
      if (bytes <= room && Date.now() - stats.mtimeMs <= ageMostMs) continue;
      await rm(path, { force: true });
      bytes -= stats.size;
    }
  }
}
