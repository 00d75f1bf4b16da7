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

/** What the clients of one lane saw of a backend in a tick: see nity_lane in the contract. */
export interface ClientSignals {
  readonly lane: number;
  readonly connects: number;
  /** Connects that the network refused or did not answer. */
  readonly failures: number;
  readonly answers: number;
  /** Sum of the log2 of the answers' microseconds. */
  readonly logSum: number;
  /** First requests of a connection that had no answer in the end. */
  readonly unserved: number;
  /** First requests that wait, now. */
  readonly waiting: number;
  /** All requests that wait, now. */
  readonly working: number;
}

/** What the agent's own connect to a backend met. */
export type DialOutcome = 'open' | 'closed';

/** What one backend did in a tick. */
export interface BackendSignals {
  /** "ip:port"; unique in its route. */
  readonly id: string;
  /** Slots it owns in the table in force; 0 for a newcomer. */
  readonly slots: number;
  readonly picks: number;
  /** Connects that ended, and those of them that the network refused or did not answer. */
  readonly connects: number;
  readonly failures: number;
  /** First requests of a connection that were answered. */
  readonly served: number;
  /** First requests of a connection that ended without an answer. */
  readonly unserved: number;
  /** Of these, those on which the backend closed the connection. */
  readonly dropped: number;
  /** Failures to connect since its last success, as the kernel counts them. */
  readonly consecutiveFailures: number;
  /** How many clients saw them: 0, 1, or 2 for more than one. */
  readonly accusers: number;
  /** Time-mean of its open connections; null when it cannot be told. */
  readonly openMean: number | null;
  /** Mean time to connect, of connects that succeeded: the path, not the backend. */
  readonly connectUs: number | null;
  readonly retransmits: number;
  /** Null: first-byte latency is not measured on this node. Empty: there was no answer. */
  readonly firstByte: readonly LatencySample[] | null;
  /** Null when first-byte latency is not measured. */
  readonly waiting: Waiting | null;
  /** Requests that it works on now; null when they are not measured. */
  readonly working: number | null;
  /** What each lane of clients saw; empty where one client alone dials the route, or nobody this backend. */
  readonly clients: readonly ClientSignals[];
  /** What the agent's last connect to it met; null when it made none of late. */
  readonly dial: DialOutcome | null;
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
  /** Lanes of clients that dial it. */
  readonly clients: number;
  /** The operator's mode, while it stands above the agent's. */
  readonly override: AdmissionMode | null;
  /** What the owner of the service calls normal; null leaves it to be learned. */
  readonly latencyReferenceUs: number | null;
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
      readonly isolatedForMs: number;
      /** One client dialled the route then, and nobody could contradict it. */
      readonly byOneClient: boolean;
      /** The agent's own connects say nothing of what clients meet. */
      readonly distrustsDial: boolean;
    }
  | { readonly kind: 'returning'; readonly forMs: number; readonly nextCooldownMs: number };

/** What the law remembers of the clients of one lane at a backend. */
export interface LaneMemory {
  readonly lane: number;
  /** Forgotten exponentially, as the backend's own counts. */
  readonly connects: number;
  readonly failures: number;
  readonly answers: number;
  readonly logSum: number;
  readonly unserved: number;
  /** Mean of the requests under way. */
  readonly working: number;
  /** Since the backend was first accused: what speaks for it, and against it. */
  readonly networkGood: number;
  readonly networkBad: number;
  readonly serviceGood: number;
  readonly serviceBad: number;
}

/** What the law remembers of a backend. Counts are forgotten exponentially. */
export interface BackendMemory {
  readonly open: number | null;
  readonly working: number | null;
  readonly connects: number;
  readonly failures: number;
  readonly served: number;
  readonly unserved: number;
  readonly retransmits: number;
  /** Answers, and the sum of the log2 of their microseconds, net of the path. */
  readonly answers: number;
  readonly logSum: number;
  readonly logSquares: number;
  /** The slowest answer of late, in log2 of microseconds; null before the first. */
  readonly slowestLog: number | null;
  /** Its own normal: log2 of microseconds, over the reference time. */
  readonly ownLog: number | null;
  /** Time to connect, and its normal. */
  readonly pathUs: number | null;
  readonly pathReferenceUs: number | null;
  /** Answers that were slow beyond what is tolerated. */
  readonly slow: number;
  /** Bits by which its slow answers are likelier if it is at fault. */
  readonly evidence: number;
  /** Bits by which its failed connects, and its unserved requests, are likelier if it is at fault. */
  readonly networkBits: number;
  readonly serviceBits: number;
  /** How long something has spoken against it. */
  readonly accusedMs: number;
  /** Bits that each request which waited too long at the last look stands for, and how many did. */
  readonly waitBits: number;
  readonly waitedLong: number;
  /** Picks since its last answer; half of those of the tick in which it answered. */
  readonly picksSinceAnswer: number;
  readonly lanes: readonly LaneMemory[];
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
  /** Connects that were asked for. */
  readonly offeredPerSecond: number;
  /** Part of the first requests that stay unserved, of late and in the long run. */
  readonly unservedShare: number;
  readonly usualUnserved: number;
  /** Part of the ticks with answers in which they were late, of late. */
  readonly lateShare: number;
  /** Outcomes of first requests that `unservedShare` is made of. */
  readonly outcomes: number;
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
  readonly gear: 'single' | 'twin' | 'bounded';
  readonly systemic: boolean;
  /** Relative to a healthy route's, which has 1. */
  readonly conductance: number;
  readonly referenceUs: number | null;
  readonly motion: Motion;
  readonly valve: ValveField;
  /** More replicas would help: all that the law can do is refuse. */
  readonly scaleHint: 'monopoly' | 'systemic' | 'conductance' | 'capacity' | 'empty' | null;
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
