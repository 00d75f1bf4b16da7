// One trace file, written at once: for runs whose time is counted, not passed, such as
// a simulation's. The same ticks give the same bytes.
import { closeSync, openSync } from 'node:fs';

import { aboutHere } from './about.js';
import { writeWhole } from './dumps.js';
import { TraceWriter, type RecordableTick } from './writer.js';

export interface TraceFileOptions {
  /** What the run is called, such as a scenario and its seed. */
  readonly run: string;
  /** The node whose agent it is. */
  readonly node?: number;
}

const writeAtOnce = 1 << 20;

export class TraceFileWriter {
  private readonly file: number;
  private readonly writer: TraceWriter;
  private parts: Buffer[] = [];
  private waiting = 0;
  private begun = false;

  /** Whatever is at `path` is replaced. */
  constructor(path: string, { run, node = 0 }: TraceFileOptions) {
    this.file = openSync(path, 'w');
    this.writer = new TraceWriter({ ...aboutHere(node), host: `simulated node ${node}`, run });
  }

  /** The agent's ticks in their order; it may have been replaced by another in between. */
  see(tick: RecordableTick): void {
    const { sequence, atNs, knobs, before, inputs, state, field, reasons, outcome } = tick;
    if (!this.begun) this.take(this.writer.begin(atNs, 0));
    this.begun = true;
    // Without how long it took: that is the time of the machine, not of the run.
    const timeless = { sequence, atNs, knobs, before, inputs, state, field, reasons, outcome };
    this.take(this.writer.tick(timeless));
    if (this.waiting >= writeAtOnce) this.flush();
  }

  close(): void {
    this.flush();
    closeSync(this.file);
  }

  private take(bytes: Buffer): void {
    this.parts.push(bytes);
    this.waiting += bytes.length;
  }

  private flush(): void {
    writeWhole(this.file, Buffer.concat(this.parts));
    this.parts = [];
    this.waiting = 0;
  }
}
