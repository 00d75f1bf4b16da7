// What the sensors tell the control law beside the kernel's counters: the node's
// stalls and its exhaustible resources, and what applications say of backends.
// A signal that cannot be read says why, and is never taken for zero.

/** A reading, or one sentence that says why there is none. */
export type Reading<T> =
  { readonly kind: 'read'; readonly value: T } | { readonly kind: 'missing'; readonly why: string };

export const stallResources = ['cpu', 'memory', 'io'] as const;
export type StallResource = (typeof stallResources)[number];

/** Shares of the wall time since the last look, in [0, 1], in which tasks stalled (PSI). */
export interface Stall {
  /** At least one task waited for the resource. */
  readonly some: number;
  /** All tasks that were not idle waited for it. */
  readonly full: number;
}

export type Stalls = Readonly<Record<StallResource, Reading<Stall>>>;

export const exhaustibles = [
  'memory',
  'pids',
  'fileDescriptors',
  'conntrack',
  'ephemeralPorts',
] as const;
export type Exhaustible = (typeof exhaustibles)[number];

/** In the resource's own unit: bytes for memory, a count for the others. */
export interface Usage {
  readonly used: number;
  readonly limit: number;
}

export interface NodeSignals {
  readonly stalls: Stalls;
  readonly usage: Readonly<Record<Exhaustible, Reading<Usage>>>;
  /**
   * Stalls of the cgroups of local backends, by the path that the services name. Where they
   * are many they are looked at in turns, and between its turns one is as it was last seen.
   */
  readonly cgroups: ReadonlyMap<string, Stalls>;
  /** How late the agent's own event loop called this tick. */
  readonly loopLagMs: number;
}

/** What an application says of one backend, while it is fresh. */
export interface AppSummary {
  readonly latencyP95Ms: number | null;
  /** Share of requests that failed, in [0, 1]. */
  readonly errorRate: number | null;
  readonly queueDepth: number | null;
}

/** A node of which nothing is sensed: a model, or a test. */
export function nothingSensed(why: string): NodeSignals {
  const missing = { kind: 'missing', why } as const;
  return {
    stalls: { cpu: missing, memory: missing, io: missing },
    usage: {
      memory: missing,
      pids: missing,
      fileDescriptors: missing,
      conntrack: missing,
      ephemeralPorts: missing,
    },
    cgroups: new Map(),
    loopLagMs: 0,
  };
}
