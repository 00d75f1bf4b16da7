// Backends of many services as one process. Each says its name, and does with a connection what
// the bytes that it reads ask for. The parent says over IPC where they listen and how slow they are.
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';
import { requests, type Obeyed, type Order } from './orders.js';

const usualDelayMs = 2;
const flood = Buffer.alloc(4 << 20, 'f');

class Backend {
  delayMs = usualDelayMs;
  greets = false;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(private readonly name: string) {}

  async listen(port: number): Promise<number> {
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
      if (this.greets) socket.end(this.name);
      else this.serve(socket);
    });
    return listenOnLastingPort(this.server, port);
  }

  async down(): Promise<void> {
    const closed = this.server && once(this.server, 'close');
    this.server?.close();
    for (const socket of this.sockets) socket.end();
    // A client that ignores the end of its connection does not hold this backend up.
    setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, 5).unref();
    await closed;
  }

  private serve(socket: Socket): void {
    let until: 'newline' | 'end' | 'never' | undefined;
    let answersDue = 0;
    let inputEnded = false;
    const say = (ms: number, end: boolean) => {
      answersDue++;
      setTimeout(() => {
        answersDue--;
        if (socket.writable) socket.write(this.name);
        if (end || (inputEnded && answersDue === 0)) socket.end();
      }, ms);
    };
    const obey = (byte: string) => {
      if (until !== undefined) {
        if (until === 'newline' && byte === '\n') say(0, true);
        return;
      }
      switch (byte) {
        case requests['answer-and-end']:
          say(this.delayMs, true);
          return;
        case requests.answer:
          say(this.delayMs, false);
          return;
        case requests['answer-at-once']:
          socket.write(this.name);
          return;
        case requests['answer-after-1-s']:
          say(1000, false);
          return;
        case requests['answer-after-4-s-and-end']:
          say(4000, true);
          return;
        case requests['end-without-answer']:
          socket.end();
          return;
        case requests['reset-the-connection']:
          socket.resetAndDestroy();
          return;
        case requests['never-answer']:
          until = 'never';
          return;
        case requests['answer-at-newline']:
          until = 'newline';
          return;
        case requests['answer-at-end-of-input']:
          until = 'end';
          return;
        case requests['send-4-MiB']:
          socket.write(flood);
          return;
        default:
      }
    };
    socket.on('data', (bytes) => {
      for (const byte of bytes.toString('latin1')) obey(byte);
    });
    socket.on('end', () => {
      inputEnded = true;
      if (until === 'end') say(0, true);
      else if (answersDue === 0) socket.end();
    });
  }
}

const backends = new Map<string, Backend>();

async function obey(order: Order): Promise<Obeyed> {
  const backend = backends.get(order.name) ?? new Backend(order.name);
  backends.set(order.name, backend);
  switch (order.kind) {
    case 'listen':
      return { port: await backend.listen(order.port) };
    case 'delay':
      backend.delayMs = order.ms;
      return { port: 0 };
    case 'greet':
      backend.greets = true;
      return { port: 0 };
    case 'down':
      await backend.down();
      return { port: 0 };
  }
}

if (process.send !== undefined) {
  let done: Promise<unknown> = Promise.resolve();
  process.on('message', (orders: readonly Order[]) => {
    done = done.then(async () => {
      const obeyed: Obeyed[] = [];
      for (const order of orders) obeyed.push(await obey(order));
      process.send?.(obeyed);
    });
  });
  process.on('disconnect', () => process.exit());
}
