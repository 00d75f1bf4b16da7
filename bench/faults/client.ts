// The client, a process of its own that is put in a cgroup before it dials: one
// connection a request, on a schedule that waits for no answer. Run by stage.ts.
import { connect } from 'node:net';

import { clientTimeoutMs, nowMs, requestsPerSecond } from './plan.js';

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What a client dials, in turn, and how long. */
export interface ClientOrder {
  readonly targets: readonly Target[];
  readonly lengthMs: number;
}

/** `other`: an errno of the client's own, such as EPERM when nobody may serve. */
export type Outcome = 'ok' | 'refused' | 'timeout' | 'reset' | 'other';

export interface Request {
  readonly startMs: number;
  /** How much later than planned it was dialled: what the client itself adds. */
  readonly lateMs: number;
  readonly latencyMs: number;
  readonly outcome: Outcome;
  /** Who answered. */
  readonly backend: number | null;
}

export type ClientMessage =
  { readonly kind: 'ready' } | { readonly kind: 'done'; readonly requests: readonly Request[] };

function outcomeOf(error: NodeJS.ErrnoException): Outcome {
  if (error.code === 'ECONNREFUSED') return 'refused';
  return error.code === 'ECONNRESET' || error.code === 'EPIPE' ? 'reset' : 'other';
}

/** Timers count whole milliseconds: half of one too early is as good as half too late. */
const earlyMs = 0.5;

function dial({ host, port }: Target, dueMs: number): Promise<Request> {
  const startMs = nowMs();
  const lateMs = startMs - dueMs;
  return new Promise((resolve) => {
    let answer = '';
    let outcome: Outcome = 'ok';
    const socket = connect({ host, port, noDelay: true });
    const timer = setTimeout(() => {
      outcome = 'timeout';
      socket.destroy();
    }, clientTimeoutMs);
    socket.write('GET\n');
    socket.on('data', (bytes) => {
      answer += bytes.toString();
      // Whoever hangs up first keeps the ports in TIME_WAIT. On the backends' side those of
      // one peer would meet those of the next, whose timestamps the kernel may refuse.
      if (answer.endsWith('\n')) socket.destroy();
    });
    socket.on('error', (error) => (outcome = outcomeOf(error)));
    socket.on('close', () => {
      clearTimeout(timer);
      const latencyMs = nowMs() - startMs;
      // Hanging up without an answer is as good as a reset.
      if (outcome === 'ok' && !answer.endsWith('\n')) outcome = 'reset';
      const backend = outcome === 'ok' ? Number(answer) : null;
      resolve({ startMs, lateMs, latencyMs, outcome, backend });
    });
  });
}

function load({ targets, lengthMs }: ClientOrder): Promise<readonly Request[]> {
  const everyMs = 1000 / requestsPerSecond;
  const count = Math.floor(lengthMs / everyMs);
  const requests: Promise<Request>[] = [];
  const beganMs = nowMs();
  return new Promise((resolve) => {
    const beat = (): void => {
      const elapsedMs = nowMs() - beganMs;
      while (requests.length < count && requests.length * everyMs <= elapsedMs + earlyMs) {
        const target = targets[requests.length % targets.length];
        if (target !== undefined) requests.push(dial(target, beganMs + requests.length * everyMs));
      }
      if (requests.length === count) resolve(Promise.all(requests));
      else setTimeout(beat, requests.length * everyMs - (nowMs() - beganMs));
    };
    beat();
  });
}

function say(message: ClientMessage): void {
  process.send?.(message);
}

process.once('message', (order: ClientOrder) => {
  void load(order).then((requests) => {
    say({ kind: 'done', requests });
  });
});
// Orphaned, it has nothing left to do; told so, it is done.
process.on('disconnect', () => process.exit(0));
say({ kind: 'ready' });
