// The last minutes in memory, as chunks that each begin with a snapshot: the oldest
// chunk goes when there are too many bytes, or when it is too old.
import type { RecordableTick, TraceWriter } from './writer.js';

export interface RingLimits {
  readonly bytesMost: number;
  readonly ageMostMs: number;
}

interface Chunk {
  readonly atNs: bigint;
  readonly wallMs: number;
  readonly parts: Buffer[];
  bytes: number;
  lastNs: bigint;
}

/** Of the limits, what one chunk may fill: so much more than is kept is never held. */
const chunkPart = 8;

export class Ring {
  private readonly chunks: Chunk[] = [];
  private bytes = 0;

  constructor(
    private readonly writer: TraceWriter,
    private readonly limits: RingLimits,
  ) {}

  take(tick: RecordableTick, wallMs: number): void {
    const { bytesMost, ageMostMs } = this.limits;
    const ageOf = (ns: bigint) => Number(tick.atNs - ns) / 1e6;
    let chunk = this.chunks.at(-1);
    const full =
      chunk === undefined ||
      chunk.bytes >= bytesMost / chunkPart ||
      ageOf(chunk.atNs) >= ageMostMs / chunkPart;
    if (chunk === undefined || full) {
      this.writer.restart();
      chunk = { atNs: tick.atNs, wallMs, parts: [], bytes: 0, lastNs: tick.atNs };
      this.chunks.push(chunk);
    }
    const part = this.writer.tick(tick);
    chunk.parts.push(part);
    chunk.bytes += part.length;
    chunk.lastNs = tick.atNs;
    this.bytes += part.length;
    for (let oldest = this.chunks[0]; oldest !== undefined; oldest = this.chunks[0]) {
      const over = this.bytes > bytesMost || ageOf(oldest.lastNs) > ageMostMs;
      // Whatever the limits, the tick that has just come is kept.
      if (!over || oldest === chunk) break;
      this.chunks.shift();
      this.bytes -= oldest.bytes;
    }
  }

  /** A whole trace; undefined before the first tick. */
  contents(): Buffer[] | undefined {
    const [oldest] = this.chunks;
    if (oldest === undefined) return undefined;
    const header = this.writer.header(oldest.atNs, oldest.wallMs);
    return [header, ...this.chunks.flatMap(({ parts }) => parts)];
  }

  get heldBytes(): number {
    return this.bytes;
  }
}
