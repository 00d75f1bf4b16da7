// What a simulated run leaves: figures that reports, series and comparisons are made of.
import type { AdmissionMode, Regime } from '../field/states.js';
import type { End, PolicyName } from './balancer.js';
import type { Verdict } from './invariant.js';

/** Of the requests that began in it, as their clients saw them at last, retries counted alone. */
export interface Traffic {
  readonly requests: number;
  readonly ends: Readonly<Record<End, number>>;
  /** Of answered requests; null when there were none. */
  readonly meanMs: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly p999Ms: number | null;
  readonly maxMs: number | null;
}

/** A stretch of the run. */
export interface Window extends Traffic {
  readonly fromMs: number;
  readonly toMs: number;
  /** Requests sent to each backend, by its number in the scenario; retries among them. */
  readonly picks: readonly number[];
  /** Slots of each backend at the end of the window; null for policies that have none. */
  readonly slots: readonly (number | null)[] | null;
  readonly admissionMode: AdmissionMode | null;
  readonly regime: Regime | null;
}

/** A measured figure beside what the scenario demands of it. */
export interface LimitOutcome {
  /** As the scenario words it, units included. */
  readonly name: string;
  readonly value: number | null;
  readonly atLeast: number | null;
  readonly atMost: number | null;
  /** True when the scenario holds this policy to it. */
  readonly binding: boolean;
  readonly pass: boolean;
}

/** Something the scenario did to the world. */
export interface Mark {
  readonly atMs: number;
  readonly toMs: number | null;
  readonly text: string;
}

/** A part of the run that the scenario named. */
export interface Phase extends Traffic {
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface RunResult {
  readonly scenario: string;
  readonly policy: PolicyName;
  readonly seed: number;
  readonly durationMs: number;
  readonly backends: readonly string[];
  readonly total: Traffic;
  /** Connects that were dialled, retries and probes of isolated backends among them. */
  readonly connects: number;
  readonly phases: readonly Phase[];
  readonly series: readonly Window[];
  readonly marks: readonly Mark[];
  readonly limits: readonly LimitOutcome[];
  /** Empty for policies other than ours. */
  readonly invariants: readonly Verdict[];
  /** SHA-256 over every request and its fate: two runs that agree in it are the same. */
  readonly digest: string;
  readonly pass: boolean;
  readonly wallMs: number;
}

/** One scenario, each policy, each seed. */
export interface Comparison {
  readonly scenario: string;
  readonly title: string;
  readonly about: string;
  readonly runs: readonly RunResult[];
}
