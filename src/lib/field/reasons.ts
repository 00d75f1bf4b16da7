// Why something changed: a closed list of causes, each with the numbers that
// made it one. "Unknown" cannot be said.
import type { AdmissionMode, IsolationCause, Regime } from './states.js';

export type Cause =
  | { readonly kind: 'latency'; readonly us: number; readonly normalUs: number }
  | { readonly kind: 'errors'; readonly ratio: number; readonly gate: number }
  | { readonly kind: 'queue'; readonly ratio: number; readonly gate: number }
  | { readonly kind: 'silence'; readonly waiting: number; readonly ageMs: number }
  /** `own` and `peers`: a ratio for errors, milliseconds for silence and latency. */
  | {
      readonly kind: 'isolation';
      readonly of: IsolationCause;
      readonly cooldownMs: number;
      readonly own: number;
      readonly peers: number;
    }
  | { readonly kind: 'drip'; readonly of: IsolationCause; readonly cooldownMs: number }
  | { readonly kind: 'recovery'; readonly forMs: number }
  | {
      readonly kind: 'ttf';
      readonly resource: string;
      readonly ttfMs: number;
      readonly limitMs: number;
    }
  | { readonly kind: 'stall'; readonly ticks: number; readonly of: number }
  /** Capacity is missing: goodput stays behind the offered load, and answers come late. */
  | {
      readonly kind: 'capacity';
      readonly offeredPerSecond: number;
      readonly goodputPerSecond: number;
      readonly unserved: number;
      readonly usual: number;
    }
  /** What an older law closed a valve for. */
  | { readonly kind: 'conductance'; readonly conductance: number; readonly least: number }
  | { readonly kind: 'guard'; readonly skew: number; readonly limit: number }
  | { readonly kind: 'churn'; readonly backends: number }
  | { readonly kind: 'override'; readonly mode: AdmissionMode | null }
  | { readonly kind: 'systemic'; readonly isolated: number; readonly backends: number }
  | { readonly kind: 'failsafe'; readonly held: boolean };

/** What changed. */
export type Change =
  | {
      readonly of: 'slots';
      readonly route: string;
      readonly backend: string;
      readonly from: number;
      readonly to: number;
      /** Whose trouble it is: the backend's own, or that of the one it takes over from. */
      readonly because: string;
    }
  | {
      readonly of: 'admission';
      readonly route: string;
      readonly from: AdmissionMode;
      readonly to: AdmissionMode;
    }
  | {
      readonly of: 'regime';
      readonly route: string;
      readonly from: Regime;
      readonly to: Regime;
    }
  | { readonly of: 'override'; readonly route: string }
  | { readonly of: 'hold' };

export interface Reason {
  readonly change: Change;
  readonly cause: Cause;
}
