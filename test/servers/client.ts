// Clients of the everyday: a connect to a VIP, bytes, and what came back, counted.
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { servicePort } from './stage.js';

export interface Asked {
  /** How long to wait for the whole answer. */
  readonly patienceMs?: number;
  /** The answer is whole when the backend ends the connection, or with the first bytes. */
  readonly whole?: 'end' | 'first-bytes';
  /** Ends the client's side of the connection after the request. */
  readonly halfClose?: boolean;
}

/** A socket on which an error is an event that nobody has to handle. */
export function dialVip(vip: string, port: number = servicePort): Socket {
  const socket = connect({ host: vip, port, noDelay: true, allowHalfOpen: true });
  socket.on('error', () => undefined);
  return socket;
}

/** Bytes are latin1 text: what a protocol sends need not be UTF-8. */
const bytesOf = (text: string) => Buffer.from(text, 'latin1');

/** What the service answers to `request`: text, or errno's name, "EOF" or "no answer in time". */
export function ask(vip: string, request: string, how: Asked = {}): Promise<string> {
  const { patienceMs = 20_000, whole = 'end', halfClose = false } = how;
  return new Promise((resolve) => {
    let answer = '';
    const socket = dialVip(vip);
    const settle = (said: string) => {
      clearTimeout(timer);
      resolve(said);
      socket.destroy();
    };
    const timer = setTimeout(() => {
      settle('no answer in time');
    }, patienceMs);
    socket.on('connect', () => {
      if (halfClose) socket.end(bytesOf(request));
      else socket.write(bytesOf(request));
    });
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
      if (whole === 'first-bytes') settle(answer);
    });
    socket.on('end', () => {
      settle(answer === '' ? 'EOF' : answer);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      settle(error.code ?? 'UNKNOWN');
    });
  });
}

/** Connects, sends `request`, waits, and closes. Returns "sent", or errno's name. */
export function send(vip: string, request: string, holdMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = dialVip(vip);
    socket.on('connect', () => {
      if (request !== '') socket.write(bytesOf(request));
      setTimeout(() => {
        socket.destroy();
        resolve('sent');
      }, holdMs);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? 'UNKNOWN');
    });
  });
}

/** How often each answer came. */
export class Tally {
  readonly answers: Map<string, number>;

  constructor(answers: Iterable<readonly [string, number]> = []) {
    this.answers = new Map(answers);
  }

  add(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }

  /** The answers that are not among `expected`, told as complaints. */
  unexpected(what: string, expected: readonly string[]): readonly string[] {
    const sum = [...this.answers.values()].reduce((a, b) => a + b, 0);
    if (sum === 0) return [`${what}: nothing was asked`];
    return [...this.answers].flatMap(([answer, count]) =>
      expected.includes(answer) ? [] : [`${what}: ${count} of ${sum}: ${answer.slice(0, 60)}`],
    );
  }
}

/** Runs `once` at random times, `perSecond` on average, and returns when all of them ended. */
export async function atRandomTimes(
  perSecond: number,
  seconds: number,
  once: () => Promise<unknown>,
): Promise<void> {
  const running = new Set<Promise<unknown>>();
  const end = performance.now() + 1000 * seconds;
  let next = performance.now();
  for (;;) {
    next += (-Math.log(1 - Math.random()) * 1000) / perSecond;
    if (next > end) break;
    await sleep(Math.max(0, next - performance.now()));
    const one = once().finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
}
