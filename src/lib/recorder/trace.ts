// A trace as it lies on disk: one file, or a directory of them in the order in which
// they were written. Joins their times into one, and leaves out what two files share.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { errnoOf, InputError } from '../errors.js';
import { UnbegunTraceError } from './frame.js';
import type { Gap } from './records.js';
import { readTrace, type RecordedTick, type TraceFile } from './reader.js';
import type { FieldState } from '../field/types.js';

export const traceSuffix = '.trace';

export type TracePoint =
  | { readonly kind: 'gap'; readonly atMs: number; readonly gap: Gap }
  /** The state before the next tick; `file` says which columns its digests are over. */
  | {
      readonly kind: 'snapshot';
      readonly atMs: number;
      readonly sequence: number;
      readonly state: FieldState;
      readonly file: TraceFile;
    }
  | {
      readonly kind: 'tick';
      readonly atMs: number;
      readonly tick: RecordedTick;
      readonly run: string;
      /** An earlier file had it already; it is only needed to know what comes after it. */
      readonly repeated: boolean;
    };

export interface CutTail {
  readonly file: string;
  /** Where its whole records end. */
  readonly offset: number;
}

export class Trace {
  /** What was found so far to end within a record. */
  readonly cutTails: CutTail[] = [];
  readonly first: TraceFile;

  constructor(
    readonly path: string,
    readonly files: readonly string[],
  ) {
    this.first = this.open(0);
  }

  private open(index: number): TraceFile {
    const file = this.files[index];
    if (file === undefined) throw new InputError(`There is no trace in ${this.path}.`, nameOne);
    return readTrace(file, readBytes(file));
  }

  /** Everything from the file in which `fromMs` lies to `toMs`; nothing beyond is even looked at. */
  *points({ fromMs = 0, toMs = Infinity } = {}): Generator<TracePoint> {
    const clock = new TraceClock(this.first);
    const seenNs = new Map<string, bigint>();
    for (let i = 0; i < this.files.length; i++) {
      const file = this.open(i);
      const { run } = file.header;
      const startsMs = clock.enter(file);
      if (startsMs > toMs) return;
      if (fromMs > 0 && i + 1 < this.files.length && clock.peek(this.open(i + 1)) <= fromMs)
        continue;
      const seenBeforeNs = seenNs.get(run);
      const events = file.events();
      let next = events.next();
      for (; next.done !== true; next = events.next()) {
        const event = next.value;
        if (event.kind === 'gap') {
          yield { kind: 'gap', atMs: clock.at(event.atNs), gap: event.gap };
        } else if (event.kind === 'snapshot') {
          const { state, sequence } = event;
          yield { kind: 'snapshot', atMs: clock.at(event.atNs), sequence, state, file };
        } else {
          const { tick } = event;
          const atMs = clock.at(tick.atNs);
          if (atMs > toMs) return;
          const repeated = seenBeforeNs !== undefined && tick.atNs <= seenBeforeNs;
          if (!repeated) seenNs.set(run, tick.atNs);
          yield { kind: 'tick', atMs, tick, run, repeated };
        }
      }
      if (next.value !== null) this.cutTails.push({ file: file.file, offset: next.value });
    }
  }
}

/** Milliseconds since the trace began: monotonic within a run, by the wall clock between runs. */
class TraceClock {
  private run: string;
  private zeroNs: bigint;
  private offsetMs = 0;
  private latestMs = 0;

  constructor(private readonly first: TraceFile) {
    this.run = first.header.run;
    this.zeroNs = first.atNs;
  }

  /** When `file` begins, from now on the one whose times are asked for. */
  enter(file: TraceFile): number {
    if (file.header.run !== this.run) {
      this.offsetMs = Math.max(this.latestMs, file.header.wallMs - this.first.header.wallMs);
      this.run = file.header.run;
      this.zeroNs = file.atNs;
    }
    return this.at(file.atNs);
  }

  peek(file: TraceFile): number {
    return file.header.run === this.run
      ? this.elapsedMs(file.atNs)
      : Math.max(this.latestMs, file.header.wallMs - this.first.header.wallMs);
  }

  at(atNs: bigint): number {
    const atMs = this.elapsedMs(atNs);
    this.latestMs = Math.max(this.latestMs, atMs);
    return atMs;
  }

  private elapsedMs(atNs: bigint): number {
    return this.offsetMs + Number(atNs - this.zeroNs) / 1e6;
  }
}

const nameOne = 'Name a file, or a directory of files that end in .trace.';

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const code = errnoOf(error);
    const why = code === 'ENOENT' ? 'it is not there' : (code ?? String(error));
    throw new InputError(`${file} cannot be read: ${why}.`, nameOne, error);
  }
}

/** No header is longer. */
const headerMost = 1 << 16;

function isBegun(file: string): boolean {
  if (statSync(file).size > headerMost) return true;
  try {
    readTrace(file, readBytes(file));
    return true;
  } catch (error) {
    return !(error instanceof UnbegunTraceError);
  }
}

export function openTrace(path: string): Trace {
  let directory: boolean;
  try {
    directory = statSync(path).isDirectory();
  } catch (error) {
    throw new InputError(
      `${path} cannot be read: ${errnoOf(error) === 'ENOENT' ? 'it is not there' : String(errnoOf(error))}.`,
      nameOne,
      error,
    );
  }
  if (!directory) return new Trace(path, [path]);
  const files = readdirSync(path)
    .filter((name) => name.endsWith(traceSuffix))
    .sort()
    .map((name) => join(path, name));
  const begun = files.filter(isBegun);
  if (begun.length === 0) throw new InputError(`There is no trace in ${path}.`, nameOne);
  return new Trace(path, begun);
}
