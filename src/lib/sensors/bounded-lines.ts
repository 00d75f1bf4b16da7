// Bytes of a stream to lines, in bounded memory and time: neither a line that never
// ends nor a flood of short ones costs more than was allowed.

const newline = 0x0a;

export interface LineReceiver {
  line(text: string): void;
  /** The line was longer than allowed; told once a line, when its end is seen. */
  tooLong(): void;
}

export class BoundedLines {
  private readonly partial: Buffer;
  private held = 0;
  private overflown = false;

  constructor(
    private readonly longestBytes: number,
    private readonly receiver: LineReceiver,
  ) {
    this.partial = Buffer.allocUnsafe(longestBytes);
  }

  /** Hands on at most `allowed` lines; returns how many ended in the chunk, those beyond included. */
  take(chunk: Buffer, allowed: number): number {
    let start = 0;
    let ended = 0;
    while (ended < allowed) {
      const end = chunk.indexOf(newline, start);
      if (end === -1) break;
      this.finish(chunk.subarray(start, end));
      start = end + 1;
      ended++;
    }
    if (ended === allowed) {
      // Lines of a flood are counted in one pass, not looked at.
      for (let at = start; at < chunk.length; at++) {
        if (chunk[at] !== newline) continue;
        start = at + 1;
        ended++;
        this.forget();
      }
    }
    this.keep(chunk.subarray(start));
    return ended;
  }

  /** Some of a line is there, but not its end. */
  get pending(): boolean {
    return this.held > 0 || this.overflown;
  }

  /** In the middle of a line that is too long already. */
  get skipping(): boolean {
    return this.overflown;
  }

  private finish(rest: Buffer): void {
    this.keep(rest);
    const text = this.overflown ? undefined : this.partial.toString('utf8', 0, this.held);
    this.forget();
    if (text === undefined) this.receiver.tooLong();
    else this.receiver.line(text);
  }

  private keep(rest: Buffer): void {
    if (this.overflown || rest.length === 0) return;
    if (this.held + rest.length > this.longestBytes) {
      this.overflown = true;
      return;
    }
    rest.copy(this.partial, this.held);
    this.held += rest.length;
  }

  private forget(): void {
    this.held = 0;
    this.overflown = false;
  }
}
