// The vocabulary of the invariants: what is looked at, and what is said of it.
// Used by the simulation, by replay and by the running agent alike.
import type { Knobs } from '../config/knobs.js';
import type { Field, FieldState, Inputs } from '../field/types.js';
import type { Reason } from '../field/reasons.js';

/** Those that can be told from a tick of the law alone, wherever it ran. */
export const tickInvariants = [
  'conservation',
  'viscosity',
  'boundary',
  'max-isolation',
  'no-blackhole',
  'explained',
  'bounded-flapping',
  'monotonic-skew',
] as const;

/** Those that need to see the connects, the tables or the whole run. */
export const worldInvariants = ['coherence', 'bounded-remap', 'liveness', 'accounting'] as const;

export type InvariantName = (typeof tickInvariants)[number] | (typeof worldInvariants)[number];

/** One tick, as the law saw and left it. */
export interface TickView {
  readonly sequence: number;
  /** Since the run, the trace or the agent began. */
  readonly atMs: number;
  readonly knobs: Knobs;
  readonly inputs: Inputs;
  readonly before: FieldState;
  readonly state: FieldState;
  readonly field: Field;
  readonly reasons: readonly Reason[];
}

export interface Violation {
  readonly invariant: InvariantName;
  readonly sequence: number;
  readonly atMs: number;
  readonly route: string | null;
  readonly backend: string | null;
  readonly seen: number;
  readonly limit: number;
  /** One sentence: what was seen, and what was allowed. */
  readonly says: string;
}

/** What a run showed of one invariant. */
export interface Verdict {
  readonly name: InvariantName;
  readonly pass: boolean;
  /** How often it was checked; a verdict of 0 checks proves nothing. */
  readonly checks: number;
  /** The value nearest to its limit, or farthest beyond it; null before the first check. */
  readonly worst: number | null;
  readonly limit: number;
  /** Where the worst was seen. */
  readonly at: { readonly sequence: number; readonly atMs: number; readonly route: string } | null;
  /** The first violation. */
  readonly first: Violation | null;
}
