// What every trial has in common, whoever balances: the load, the backends, and
// how long what lasts. Nothing here knows a peer.

export const faults = ['refuses', 'slow', 'hung', 'quiet'] as const;
export type Fault = (typeof faults)[number];
/** The faults in which something is broken. */
export type Breakage = Exclude<Fault, 'quiet'>;
export type Behaviour = 'normal' | Breakage;

export const backendCount = 10;
export const fairShare = 1 / backendCount;
/** The backend that breaks: in the middle, so that no list begins or ends with it. */
export const badBackend = 4;
export const serviceMs = 4;
export const slowFactor = 20;
export const requestsPerSecond = 200;
export const clientTimeoutMs = 1000;
export const vipPort = 80;

/** How long a service takes: the same each time, or lognormal with median `serviceMs`. */
export type Noise = 'fixed' | 'lognormal';
export const lognormalSigma = 1;

export interface Schedule {
  readonly noise: Noise;
  /** Before the fault; of a quiet trial, what is not counted. */
  readonly warmMs: number;
  /** Of a quiet trial, how long it is watched. */
  readonly faultMs: number;
  readonly recoveryMs: number;
}

const warmMs = 5000;
const recoveryMs = 12_500;
const brokenMs: Readonly<Record<Breakage, number>> = { refuses: 3500, slow: 6500, hung: 6500 };

export function scheduleOf(fault: Fault, quietMs: number): Schedule {
  if (fault === 'quiet') return { noise: 'lognormal', warmMs, faultMs: quietMs, recoveryMs: 0 };
  return { noise: 'fixed', warmMs, faultMs: brokenMs[fault], recoveryMs };
}

export function lengthMs({ warmMs, faultMs, recoveryMs }: Schedule): number {
  return warmMs + faultMs + recoveryMs;
}

/** On the clock that all processes of a node share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
