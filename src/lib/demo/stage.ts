// What the demo's story is told on: the kernel with real sockets, or the model.
// The story does not know which.
import type { FailsafeModeName } from '../dataplane/control.js';

export type Behaviour = 'healthy' | 'refusing' | 'slow';

/** One connect of the client: who answered, or that nobody did. */
export interface Connect {
  /** Since the stage was set. */
  readonly atMs: number;
  /** The name that the backend gave, null if the connect failed. */
  readonly answer: string | null;
  readonly latencyMs: number;
}

export interface BackendNow {
  readonly name: string;
  readonly slots: number;
  readonly state: string;
  readonly open: number;
}

export interface Now {
  readonly atMs: number;
  readonly epoch: bigint;
  readonly failsafeMode: FailsafeModeName;
  readonly heartbeatAgeMs: number | null;
  readonly backends: readonly BackendNow[];
}

export interface Stage {
  readonly plane: 'kernel' | 'model';
  /** What the backends call themselves, in their order. */
  readonly names: readonly string[];
  behave(backend: number, behaviour: Behaviour): Promise<void>;
  startAgent(): Promise<void>;
  /** With SIGKILL, as an out-of-memory killer would. */
  killAgent(): Promise<void>;
  now(): Now;
  /** Lets `ms` pass under load and returns the connects that ended meanwhile. */
  pass(ms: number): Promise<Connect[]>;
  close(): Promise<void>;
}

export const demoBackends = 6;
export const healthyMs = 5;
/** Ten times slower. */
export const slowMs = 50;
export const connectsPerSecond = 240;
export const demoVip = '127.96.0.10';
export const demoPort = 80;
export const demoRoute = 'demo/shop:http';
