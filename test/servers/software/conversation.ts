// One connection on which a client speaks a wire protocol: it says bytes, and waits for what it
// expects to hear. Bytes are latin1 text, so that a pattern can be matched against any protocol.
import type { Socket } from 'node:net';

import { dialVip } from '../client.js';

const patienceMs = 20_000;

/** What ended a conversation before its time: errno's name, "EOF" or "no answer in time". */
class Ended extends Error {}

export class Conversation {
  private readonly socket: Socket;
  private heard = '';
  private ended: string | undefined;
  private wake: (() => void) | undefined;

  /** `port` is that of a server itself, or of the service if it is left out. */
  constructor(host: string, port?: number) {
    this.socket = dialVip(host, port);
    this.socket.on('data', (bytes) => {
      this.heard += bytes.toString('latin1');
      this.wake?.();
    });
    this.socket.on('end', () => {
      this.end('EOF');
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.end(error.code ?? 'UNKNOWN');
    });
  }

  private end(why: string): void {
    this.ended ??= why;
    this.wake?.();
  }

  say(bytes: string): void {
    this.socket.write(Buffer.from(bytes, 'latin1'));
  }

  /** What was heard up to the end of the match; it is heard once. */
  async hear(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const match = pattern.exec(this.heard);
      if (match !== null) {
        const until = match.index + match[0].length;
        const text = this.heard.slice(0, until);
        this.heard = this.heard.slice(until);
        return text;
      }
      if (this.ended !== undefined) throw new Ended(this.ended);
      const left = deadline - performance.now();
      if (left <= 0) throw new Ended('no answer in time');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = undefined;
    }
  }

  async exchange(bytes: string, pattern: RegExp): Promise<string> {
    this.say(bytes);
    return this.hear(pattern);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Opens a conversation, has it, and closes it. What ended it early is the answer. */
export async function converse(
  vip: string,
  talk: (conversation: Conversation) => Promise<string>,
): Promise<string> {
  const conversation = new Conversation(vip);
  try {
    return await talk(conversation);
  } catch (error) {
    if (error instanceof Ended) return error.message;
    throw error;
  } finally {
    conversation.close();
  }
}
