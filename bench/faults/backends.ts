// The backends, a process of their own: they answer a request with a line, their
// number, or behave as their parent orders. Run by stage.ts, with IPC.
import { createServer, type Server, type Socket } from 'node:net';

import {
  backendCount,
  lognormalSigma,
  nowMs,
  serviceMs,
  slowFactor,
  type Behaviour,
  type Noise,
} from './plan.js';
import { standardNormal } from './random.js';

export type BackendOrder =
  | { readonly kind: 'serve'; readonly noise: Noise; readonly seed: number }
  | { readonly kind: 'behave'; readonly backend: number; readonly behaviour: Behaviour };

export type BackendsMessage =
  | { readonly kind: 'ready'; readonly ports: readonly number[] }
  | { readonly kind: 'obeyed'; readonly atMs: number };

const backlog = 1024;
/** Below the ephemeral ports, so that no client takes the port of a backend that refuses. */
const ports = { first: 20_000, last: 30_000, tries: 50 };

class Backend {
  private behaviour: Behaviour = 'normal';
  private server: Server | undefined;
  private draw: () => number = () => 0;

  constructor(
    private readonly number: number,
    private readonly port: number,
  ) {}

  listen(): Promise<void> {
    const server = createServer((socket) => {
      this.accept(socket);
    });
    this.server = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: '127.0.0.1', port: this.port, backlog }, resolve);
    });
  }

  private accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => {
      // As of a process that hangs: who was served while it hung is never answered.
      if (this.behaviour === 'hung') return;
      const factor = this.behaviour === 'slow' ? slowFactor : 1;
      setTimeout(() => socket.write(`${this.number}\n`), factor * this.serviceMs());
    });
  }

  private serviceMs(): number {
    return serviceMs * Math.exp(this.draw());
  }

  /** Each backend draws its own times, the same ones for every peer. */
  serve(noise: Noise, seed: number): void {
    const normal = standardNormal(seed * backendCount + this.number);
    this.draw = noise === 'fixed' ? () => 0 : () => lognormalSigma * normal();
  }

  async behave(behaviour: Behaviour): Promise<void> {
    this.behaviour = behaviour;
    if (behaviour === 'refuses') {
      this.close();
    } else if (this.server === undefined) {
      await this.listen();
    }
  }

  /** Connections that were accepted stay; the next SYN is answered with a reset. */
  close(): void {
    this.server?.close();
    this.server = undefined;
  }
}

async function listenAt(first: number): Promise<Backend[] | undefined> {
  const backends = Array.from({ length: backendCount }, (_, i) => new Backend(i, first + i));
  try {
    for (const backend of backends) await backend.listen();
    return backends;
  } catch (error) {
    for (const backend of backends) backend.close();
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
}

function say(message: BackendsMessage): void {
  process.send?.(message);
}

async function obey(backends: readonly Backend[], order: BackendOrder): Promise<void> {
  if (order.kind === 'behave') await backends[order.backend]?.behave(order.behaviour);
  else for (const backend of backends) backend.serve(order.noise, order.seed);
  say({ kind: 'obeyed', atMs: nowMs() });
}

async function main(): Promise<void> {
  const room = (ports.last - ports.first) / backendCount;
  for (let tries = 0; tries < ports.tries; tries++) {
    const first = ports.first + ((process.pid + tries) % room) * backendCount;
    const backends = await listenAt(first);
    if (backends === undefined) continue;
    process.on('message', (order: BackendOrder) => void obey(backends, order));
    // Orphaned, it has nothing left to do.
    process.on('disconnect', () => process.exit(0));
    say({ kind: 'ready', ports: backends.map((_, i) => first + i) });
    return;
  }
  throw new Error(`no ${backendCount} free ports in a row in ${ports.tries} tries`);
}

await main();
