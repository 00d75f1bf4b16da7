// What stands between clients and backends in the simulated world: one balancer a
// node, ours or another's. A balancer knows what its own clients see, and no more.

export const policyNames = [
  'nity',
  'gear',
  'random',
  'round-robin',
  'least-connections',
  'two-choices',
  'peak-ewma',
  'hot-cold',
] as const;
export type PolicyName = (typeof policyNames)[number];

/** How a request ended, as its client saw it. */
export const ends = ['answered', 'refused', 'failed', 'timedOut', 'turnedAway'] as const;
/**
 * `refused`: the backend took no connection. `failed`: it answered with an error.
 * `timedOut`: no answer in the client's patience. `turnedAway`: the balancer let it go nowhere.
 */
export type End = (typeof ends)[number];

/** What a backend says of itself when it is probed. */
export interface Load {
  readonly inFlight: number;
  /** Its typical latency at about this load, of late. */
  readonly latencyMs: number;
}

/** What a node may see of the world. */
export interface NodeView {
  /** Uniform in [0, 1), from the run's seed. */
  random(): number;
  nowMs(): number;
  /** Asks a backend how it does; the answer comes a round trip later, or never. */
  probe(backend: number, heard: (load: Load) => void): void;
  /** Whether it would take a connection now. */
  accepts(backend: number): boolean;
}

/** Requests are numbered by the world; backends by the scenario, and numbers are never used again. */
export interface Balancer {
  /** The backends there are from now on, in the order of their numbers. */
  serve(backends: readonly number[]): void;
  /** The backend to which `request` goes, or -1: it goes nowhere. */
  pick(request: number): number;
  /** The request's end, for exactly those that went somewhere. */
  ended(request: number, backend: number, latencyMs: number, end: End): void;
}

export type MakeBalancer = (view: NodeView) => Balancer;
