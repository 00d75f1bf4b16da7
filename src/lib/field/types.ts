// What the control law takes and gives. `null` is a signal that is missing,
// which is never the same as zero.

export interface BackendSignals {
  /** "ip:port"; unique in its route. */
  readonly id: string;
  /** Slots it owns in the table in force; 0 for a newcomer. */
  readonly slots: number;
  /** Time-mean of its open connections over the tick. */
  readonly openMean: number | null;
  /** Mean time to connect over the tick, of connects that succeeded. */
  readonly connectLatencyUs: number | null;
  /** Connects of the tick that ended well and badly. */
  readonly connects: number;
  readonly failures: number;
  /** Failures since its last success, as the kernel counts them. */
  readonly consecutiveFailures: number;
}

export interface RouteSignals {
  readonly name: string;
  /** Slots of its table: a power of two. */
  readonly slots: number;
  readonly backends: readonly BackendSignals[];
}

export interface Inputs {
  /** Time since the last step. */
  readonly dtMs: number;
  readonly routes: readonly RouteSignals[];
}

/** What the law remembers of a backend. */
export interface BackendMemory {
  readonly open: number | null;
  readonly latencyUs: number | null;
  /** Connects and failures, forgotten exponentially. */
  readonly connects: number;
  readonly failures: number;
  /** What is left of its isolation; 0 when it is not isolated. */
  readonly isolatedForMs: number;
  readonly isolated: boolean;
  /** How long the next isolation will last. */
  readonly nextIsolationMs: number;
}

export interface RouteMemory {
  readonly backends: ReadonlyMap<string, BackendMemory>;
  /** Slots are on their way to their targets (Schmitt trigger of the dead band). */
  readonly moving: boolean;
}

export type FieldState = ReadonlyMap<string, RouteMemory>;

export interface Pressure {
  /** Each term is relative to its reference: 1 is a peer like the others. */
  readonly queue: number;
  readonly latency: number;
  readonly errors: number;
  readonly total: number;
}

export interface BackendField {
  readonly id: string;
  readonly slots: number;
  readonly state: 'healthy' | 'degraded' | 'isolated';
  readonly pressure: Pressure;
  readonly target: number;
}

export interface RouteField {
  readonly name: string;
  readonly slots: number;
  readonly backends: readonly BackendField[];
}

export type ReasonKind =
  'queue' | 'latency' | 'errors' | 'isolation' | 'drip' | 'recovery' | 'churn' | 'systemic';

/** Why a backend's slots changed, with the numbers that caused it. */
export interface Reason {
  readonly route: string;
  readonly backend: string;
  readonly kind: ReasonKind;
  readonly from: number;
  readonly to: number;
  readonly pressure: Pressure;
}

export interface StepResult {
  readonly state: FieldState;
  readonly field: readonly RouteField[];
  readonly reasons: readonly Reason[];
}
