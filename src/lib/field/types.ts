// What the control law takes and gives. `null` is a signal that is missing,
// which is never the same as zero.
import type { Cause, Reason } from './reasons.js';
import type { Knobs } from '../config/knobs.js';
import type { AdmissionMode, BackendState, IsolationCause, Regime } from './states.js';
import type { AppSummary, NodeSignals, Stalls } from './signals.js';

/** Answers of one tick that took about as long, by the centre of their bucket. */
export interface LatencySample {
  readonly us: number;
  readonly count: number;
}

/** Requests that are the first of their connection and have no answer yet. */
export interface Waiting {
  readonly count: number;
  /** Their mean age. */
  readonly ageMs: number;
  /** The backend has answered something since they were sent. */
  readonly answeredSince: boolean;
}

/** What one backend did in a tick. */
export interface BackendSignals {
  /** "ip:port"; unique in its route. */
  readonly id: string;
  /** Slots it owns in the table in force; 0 for a newcomer. */
  readonly slots: number;
  readonly picks: number;
  /** Connects that ended well and badly, and first requests that were dropped or given up. */
  readonly connects: number;
  readonly failures: number;
  /** Of the failures, requests that a connection was there for and nobody answered. */
  readonly unserved: number;
  /** Failures to connect since its last success, as the kernel counts them. */
  readonly consecutiveFailures: number;
  /** Time-mean of its open connections; null when it cannot be told. */
  readonly openMean: number | null;
  /** Mean time to connect, of connects that succeeded: the path, not the backend. */
  readonly connectUs: number | null;
  readonly retransmits: number;
  /** Null: first-byte latency is not measured on this node. Empty: there was no answer. */
  readonly firstByte: readonly LatencySample[] | null;
  /** Null when first-byte latency is not measured. */
  readonly waiting: Waiting | null;
  /** Stalls of a local backend's cgroup; null for all others. */
  readonly stalls: Stalls | null;
  readonly app: AppSummary | null;
}

export interface RouteSignals {
  readonly name: string;
  /** Slots of its table: a power of two. */
  readonly slots: number;
  /** Connects that the valve refused in the tick. */
  readonly refused: number;
  /** The operator's mode, while it stands above the agent's. */
  readonly override: AdmissionMode | null;
  readonly backends: readonly BackendSignals[];
}

export interface Inputs {
  /** Time since the last step. */
  readonly dtMs: number;
  /** An operator holds the projection: the law goes on, its field waits. */
  readonly held: boolean;
  readonly node: NodeSignals;
  readonly routes: readonly RouteSignals[];
}

/** A backend's standing with the law. */
export type Circuit =
  | { readonly kind: 'admitted'; readonly nextCooldownMs: number }
  | {
      readonly kind: 'isolated';
      readonly cause: IsolationCause;
      readonly cooldownMs: number;
      /** Until a probe may come; 0 when it may. */
      readonly remainingMs: number;
      /** Since a probe was sent; null before. */
      readonly probedForMs: number | null;
    }
  | { readonly kind: 'returning'; readonly forMs: number; readonly nextCooldownMs: number };

/** What the law remembers of a backend. Counts are forgotten exponentially. */
export interface BackendMemory {
  readonly open: number | null;
  readonly connects: number;
  readonly failures: number;
  readonly retransmits: number;
  /** Answers, and the sum of the log2 of their microseconds, net of the path. */
  readonly answers: number;
  readonly logSum: number;
  /** Its own normal: log2 of microseconds, over the reference time. */
  readonly ownLog: number | null;
  /** Time to connect, and its normal. */
  readonly pathUs: number | null;
  readonly pathReferenceUs: number | null;
  /** Octaves by which slow answers exceeded what is tolerated (CUSUM). */
  readonly evidence: number;
  readonly circuit: Circuit;
  /** Its slots are on their way to their target. */
  readonly underway: boolean;
}

/** What is normal for a route. */
export interface Reference {
  /** log2 of microseconds; null before the first answer. */
  readonly log: number | null;
  /** Variance of log2 latency around it. */
  readonly spread: number;
  /** Ticks that it is made of, while they are few. */
  readonly ticks: number;
}

export interface ValveMemory {
  readonly mode: AdmissionMode;
  readonly inModeMs: number;
  /** Since anything last asked for this mode or a stricter one. */
  readonly calmMs: number;
  readonly goodputPerSecond: number | null;
  /** What the route carried at its best, of late. */
  readonly carriedPerSecond: number;
  /** What soft admits; null in any other mode. */
  readonly budgetPerSecond: number | null;
  /** Connects refused and not yet made up for. */
  readonly debt: number;
}

export interface RouteMemory {
  readonly backends: ReadonlyMap<string, BackendMemory>;
  /** Positions of the backends by name, which decides ties. */
  readonly order: readonly number[];
  readonly reference: Reference;
  /** Slots are on their way to their targets (Schmitt trigger of the dead band). */
  readonly moving: boolean;
  /** How long some backend has been off by more than the settle band. */
  readonly offMs: number;
  /** Part of the viscosity's limit that the guard leaves, in (0, 1]. */
  readonly guard: number;
  readonly skew: number;
  readonly valve: ValveMemory;
  readonly regime: Regime;
  readonly systemic: boolean;
  readonly overridden: AdmissionMode | null;
  /** Its field while nothing of its memory is left to fade; null as long as there is. */
  readonly rest: RouteField | null;
}

/** One look at a resource, for its growth. */
export interface UsagePoint {
  readonly ageMs: number;
  readonly used: number;
}

export interface NodeMemory {
  /** Whether the node stalled, newest last. */
  readonly stalled: readonly boolean[];
  readonly usage: ReadonlyMap<string, readonly UsagePoint[]>;
}

export interface FieldState {
  /** The knobs of the last step: with others, nothing rests. */
  readonly knobs: Knobs | null;
  readonly node: NodeMemory;
  readonly routes: ReadonlyMap<string, RouteMemory>;
  readonly held: boolean;
}

/** Each term is relative to its reference; null when its signal is missing. */
export interface Pressure {
  readonly queue: number | null;
  readonly latency: number | null;
  readonly path: number | null;
  readonly node: number | null;
  readonly errors: number | null;
  /** What the error gate adds. */
  readonly gate: number;
  readonly total: number;
}

export interface BackendField {
  readonly id: string;
  readonly slots: number;
  readonly before: number;
  readonly target: number;
  readonly weight: number;
  readonly state: BackendState;
  readonly pressure: Pressure;
  /** What the judgement rests on. */
  readonly memory: BackendMemory;
}

export interface Motion {
  /** Slots that the backend farthest from its target is off. */
  readonly worst: number;
  /** How far off one must be to start, and to go on. */
  readonly startsAt: number;
  readonly stopsAt: number;
  readonly moving: boolean;
  /** Most slots that a backend may move in this tick, after the guard. */
  readonly limit: number;
  readonly guard: number;
  readonly skew: number;
}

export interface ValveField {
  readonly mode: AdmissionMode;
  /** Why it is not normal. */
  readonly cause: Cause | null;
  /** Null: whatever comes is admitted. */
  readonly budgetPerSecond: number | null;
  readonly burst: number;
  readonly goodputPerSecond: number | null;
  readonly debt: number;
  readonly calmMs: number;
}

export interface RouteField {
  readonly name: string;
  readonly slots: number;
  readonly backends: readonly BackendField[];
  readonly regime: Regime;
  readonly gear: 'single' | 'twin';
  readonly systemic: boolean;
  /** Relative to a healthy route's, which has 1. */
  readonly conductance: number;
  readonly referenceUs: number | null;
  readonly motion: Motion;
  readonly valve: ValveField;
  /** More replicas would help: all that the law can do is refuse. */
  readonly scaleHint: 'monopoly' | 'systemic' | 'conductance' | 'empty' | null;
}

export interface Exhaustion {
  readonly resource: string;
  readonly used: number;
  readonly limit: number;
  readonly perSecond: number;
  readonly ttfMs: number;
}

export interface NodeField {
  readonly regime: Regime;
  /** What would fail first; null if nothing is known of any. */
  readonly exhaustion: Exhaustion | null;
  readonly stalledTicks: number;
  readonly stalledNow: boolean;
  /** Sensors that say nothing, and why. */
  readonly missing: readonly { readonly sensor: string; readonly why: string }[];
}

export interface Field {
  readonly node: NodeField;
  readonly routes: readonly RouteField[];
}

export interface StepResult {
  readonly state: FieldState;
  readonly field: Field;
  readonly reasons: readonly Reason[];
}
