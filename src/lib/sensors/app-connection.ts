// One application's connection: how much of it is listened to, what is answered, and
// when it is closed. What a line means is the business of whoever hands in `take`.
import type { Socket } from 'node:net';

import type { LineProblem } from './app-summary-line.js';
import { BoundedLines } from './bounded-lines.js';
import { TokenBucket } from './token-bucket.js';

export interface ConnectionLimits {
  readonly lineBytes: number;
  readonly linesPerSecond: number;
  /** Of all connections together. */
  readonly allLinesPerSecond: number;
  /** Without a whole line for so long, the connection is closed. */
  readonly idleMs: number;
}

export interface ConnectionOptions {
  readonly limits: ConnectionLimits;
  /** What all connections share of the agent's time, in lines. */
  readonly shared: TokenBucket;
  readonly nowMs: () => number;
  /** What is wrong with the line, or undefined. */
  take(line: string): LineProblem | undefined;
  tooLong(): void;
  /** So many lines came faster than allowed; nobody looked at them. */
  dropped(lines: number): void;
}

const answerEveryMs = 1_000;
/** A flood, of lines or of one without end, waits so long in the sender's buffer, off the agent's CPU. */
const floodPauseMs = 100;

export class AppConnection {
  private readonly lines: BoundedLines;
  private readonly idle: NodeJS.Timeout;
  private flood: NodeJS.Timeout | undefined;
  private readonly own: TokenBucket;
  private answeredMs = -Infinity;

  constructor(
    private readonly socket: Socket,
    private readonly options: ConnectionOptions,
  ) {
    const { limits, nowMs } = options;
    this.own = new TokenBucket(limits.linesPerSecond, limits.linesPerSecond, nowMs());
    this.lines = new BoundedLines(limits.lineBytes, {
      line: (text) => {
        const problem = options.take(text);
        if (problem !== undefined) this.answer(problem);
      },
      tooLong: () => {
        options.tooLong();
        this.answer({
          error: `The line is longer than ${limits.lineBytes} bytes.`,
          hint: 'Send one pair of route and backend a line.',
        });
      },
    });
    this.idle = setTimeout(() => socket.destroy(), limits.idleMs).unref();
    socket.on('data', (chunk: Buffer) => {
      this.receive(chunk);
    });
    socket.on('end', () => {
      // What stands there without a newline is a line too.
      if (this.lines.pending) this.receive(Buffer.from('\n'));
      socket.end();
    });
    socket.on('close', () => {
      clearTimeout(this.idle);
      clearTimeout(this.flood);
    });
  }

  private receive(chunk: Buffer): void {
    const allowed = this.allowed();
    const ended = this.lines.take(chunk, allowed);
    if (ended > 0) this.idle.refresh();
    const looked = Math.min(ended, allowed);
    this.own.take(looked);
    this.options.shared.take(looked);
    if (ended > looked) {
      this.options.dropped(ended - looked);
      const { linesPerSecond, allLinesPerSecond } = this.options.limits;
      this.answer({
        error: `Lines were dropped: a connection may send ${linesPerSecond} a second, and all together ${allLinesPerSecond}.`,
        hint: 'Send each pair of route and backend about once a second.',
      });
    } else if (!this.lines.skipping) return;
    this.socket.pause();
    this.flood = setTimeout(() => this.socket.resume(), floodPauseMs).unref();
  }

  private allowed(): number {
    const nowMs = this.options.nowMs();
    return Math.min(this.own.available(nowMs), this.options.shared.available(nowMs));
  }

  private answer(problem: LineProblem): void {
    const nowMs = this.options.nowMs();
    // Who does not read its answers gets no more: they must not pile up here.
    if (nowMs - this.answeredMs < answerEveryMs || this.socket.writableLength > 0) return;
    this.answeredMs = nowMs;
    this.socket.write(`${JSON.stringify(problem)}\n`);
  }
}
