// The demo's backends, a process of their own: real TCP servers that answer a
// request with their name and hang up. Their parent tells them how to behave.
import { createServer, type Server, type Socket } from 'node:net';

import { listenOnLastingPort } from './lasting-port.js';
import { healthyMs, slowMs, type Behaviour } from './stage.js';

export interface BackendOrder {
  readonly backend: number;
  readonly behaviour: Behaviour;
}

export type BackendsMessage =
  { readonly kind: 'ready'; readonly ports: readonly number[] } | { readonly kind: 'obeyed' };

class Backend {
  private delayMs = healthyMs;
  private server: Server;
  port = 0;

  constructor(private readonly name: string) {
    this.server = this.serve();
  }

  private serve(): Server {
    return createServer((socket: Socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', () => setTimeout(() => socket.end(this.name), this.delayMs));
    });
  }

  async listen(): Promise<void> {
    this.port = await listenOnLastingPort(this.server, this.port);
  }

  async behave(behaviour: Behaviour): Promise<void> {
    this.delayMs = behaviour === 'slow' ? slowMs : healthyMs;
    if (behaviour === 'refusing') this.server.close();
    else if (!this.server.listening) {
      this.server = this.serve();
      await this.listen();
    }
  }
}

function say(message: BackendsMessage): void {
  process.send?.(message);
}

const backends = process.argv.slice(2).map((name) => new Backend(name));
await Promise.all(backends.map((backend) => backend.listen()));
process.on('message', (order: BackendOrder) => {
  void backends[order.backend]?.behave(order.behaviour).then(() => {
    say({ kind: 'obeyed' });
  });
});
// Orphaned, it has nothing left to do.
process.on('disconnect', () => process.exit(0));
say({ kind: 'ready', ports: backends.map(({ port }) => port) });
