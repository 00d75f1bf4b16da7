// Canonical bytes of a value and their SHA-256: the same on every machine, whatever
// a NaN looks like there, and whatever packs the trace.
import { hash } from 'node:crypto';

/** What no other value begins with. */
const marks = { nothing: 0, number: 1, nan: 2, text: 3, bytes: 4, count: 5, word: 6 } as const;

export class Sink {
  private buffer = Buffer.alloc(1 << 14);
  private view = new DataView(this.buffer.buffer, this.buffer.byteOffset);
  private used = 0;

  private room(more: number): void {
    if (this.used + more <= this.buffer.length) return;
    const grown = Buffer.alloc(Math.max(this.buffer.length * 2, this.used + more));
    this.buffer.copy(grown, 0, 0, this.used);
    this.buffer = grown;
    this.view = new DataView(grown.buffer, grown.byteOffset);
  }

  private mark(mark: number): void {
    this.room(9);
    this.buffer[this.used++] = mark;
  }

  nothing(): void {
    this.mark(marks.nothing);
  }

  number(value: number): void {
    if (Number.isNaN(value)) {
      this.mark(marks.nan);
      return;
    }
    this.mark(marks.number);
    this.view.setFloat64(this.used, value, true);
    this.used += 8;
  }

  count(value: number): void {
    this.mark(marks.count);
    this.view.setUint32(this.used, value, true);
    this.used += 4;
  }

  /** One of a closed list, by its place in the trace's own. */
  word(place: number): void {
    this.mark(marks.word);
    this.view.setInt32(this.used, place, true);
    this.used += 4;
  }

  text(value: string): void {
    this.mark(marks.text);
    const length = Buffer.byteLength(value);
    this.used = this.buffer.writeUInt32LE(length, this.used);
    this.room(length);
    this.used += this.buffer.write(value, this.used);
  }

  bytes(value: Uint8Array): void {
    this.mark(marks.bytes);
    this.used = this.buffer.writeUInt32LE(value.length, this.used);
    this.room(value.length);
    this.buffer.set(value, this.used);
    this.used += value.length;
  }

  /** The first `length` bytes of the SHA-256 of all that came in; empties it. */
  end(length: number): Uint8Array {
    const digest = hash('sha256', this.buffer.subarray(0, this.used), 'buffer');
    this.used = 0;
    return new Uint8Array(digest.subarray(0, length));
  }
}
