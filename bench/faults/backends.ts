// The backends, a process of their own: they answer a request with a line, their
// number, or behave as their parent orders. Run by stage.ts, with IPC.
import { createServer, type Server, type Socket } from 'node:net';

import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';
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

class Backend {
  private behaviour: Behaviour = 'normal';
  private server: Server | undefined;
  private draw: () => number = () => 0;
  port = 0;

  constructor(private readonly number: number) {}

  async listen(): Promise<void> {
    this.server = createServer((socket) => {
      this.accept(socket);
    });
    this.port = await listenOnLastingPort(this.server, this.port);
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
      // Connections that were accepted stay; the next SYN is answered with a reset.
      this.server?.close();
      this.server = undefined;
    } else if (this.server === undefined) {
      await this.listen();
    }
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

const backends = Array.from({ length: backendCount }, (_, number) => new Backend(number));
for (const backend of backends) await backend.listen();
process.on('message', (order: BackendOrder) => void obey(backends, order));
// Orphaned, it has nothing left to do.
process.on('disconnect', () => process.exit(0));
say({ kind: 'ready', ports: backends.map(({ port }) => port) });
