// The terminal as a grid of lines: the alternate screen, keys as they are pressed, and
// only lines that changed are written, so that a slow connection carries little.
import { emitKeypressEvents, type Interface } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';

import type { Size } from './paint.js';
import type { Key } from './view.js';

const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const clear = '\x1b[2J';
/** An escape that nothing follows for so long is the key itself. */
const escapeMs = 50;
/** What a terminal that does not tell its size is taken for. */
const usual: Size = { columns: 80, rows: 24 };

export interface ScreenListener {
  key(key: Key): void;
  resized(): void;
}

export class Screen {
  private drawn: string[] = [];
  private readonly restore = () => {
    this.output.write(leave);
    if (this.input.isTTY) this.input.setRawMode(false);
  };

  constructor(
    private readonly input: ReadStream,
    private readonly output: WriteStream,
    private readonly listener: ScreenListener,
  ) {}

  get size(): Size {
    const { columns, rows } = this.output;
    return columns > 0 && rows > 0 ? { columns, rows } : usual;
  }

  open(): void {
    this.output.write(enter + clear);
    this.output.on('resize', this.onResize);
    // Whatever ends the process, the terminal is given back as it was.
    process.on('exit', this.restore);
    if (!this.input.isTTY) return;
    // It asks its second argument for nothing but this time.
    emitKeypressEvents(this.input, { escapeCodeTimeout: escapeMs } as unknown as Interface);
    this.input.setRawMode(true);
    this.input.on('keypress', this.onKey);
    this.input.resume();
  }

  /** A terminal that has not taken the last picture yet is spared this one. */
  draw(lines: readonly string[]): void {
    if (this.output.writableNeedDrain) return;
    let changes = '';
    lines.forEach((line, row) => {
      // Erased first: after a full line the cursor still stands on its last character.
      if (this.drawn[row] !== line) changes += `\x1b[${row + 1};1H\x1b[K${line}`;
    });
    for (let row = lines.length; row < this.drawn.length; row++) {
      changes += `\x1b[${row + 1};1H\x1b[K`;
    }
    this.drawn = [...lines];
    if (changes !== '') this.output.write(changes);
  }

  close(): void {
    process.off('exit', this.restore);
    this.output.off('resize', this.onResize);
    this.input.off('keypress', this.onKey);
    this.input.pause();
    this.restore();
  }

  private readonly onResize = () => {
    this.drawn = [];
    this.output.write(clear);
    this.listener.resized();
  };

  private readonly onKey = (
    text: string | undefined,
    key: { name?: string | undefined; ctrl?: boolean | undefined },
  ) => {
    const name = key.name ?? '';
    this.listener.key({ name, text: text ?? '', ctrl: key.ctrl ?? false });
  };
}
