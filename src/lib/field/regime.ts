// Regimes: how strict to be. A regime interprets a route's health over time; it
// sets knobs and the gear, and never decides a packet's fate itself.
import type { Knobs } from '../config/knobs.js';
import { regimes, type AdmissionMode, type Regime } from './states.js';

export interface Health {
  readonly systemic: boolean;
  readonly admission: AdmissionMode;
  /** Relative to a healthy route's, which has 1. */
  readonly conductance: number;
  /** Backends that are isolated or degraded, and those that return. */
  readonly sick: number;
  readonly returning: number;
  readonly debt: number;
}

export function regimeOf(before: Regime, health: Health, knobs: Knobs): Regime {
  const { systemic, admission, conductance, sick, returning, debt } = health;
  if (systemic || admission === 'hard' || conductance < knobs.conductanceMin / 2) return 'crisis';
  if (sick > 0 || admission === 'soft' || conductance < knobs.conductanceMin) return 'transition';
  if (before !== 'laminar' && (returning > 0 || debt > 0)) return 'recovery';
  // One tick of recovery at least: what was grave is not laminar at once.
  return before === 'crisis' || before === 'transition' ? 'recovery' : 'laminar';
}

export function gravestRegime(all: readonly Regime[]): Regime {
  return all.reduce<Regime>(
    (worst, regime) => (regimes.indexOf(regime) > regimes.indexOf(worst) ? regime : worst),
    'laminar',
  );
}

/** What a regime makes of the knobs. */
export interface Strictness {
  /** Multiplies the viscosity's limit. */
  readonly viscosity: number;
  /** Multiplies the dead band. */
  readonly deadBand: number;
  /** Multiplies the evidence that isolates. */
  readonly evidence: number;
  readonly gear: 'single' | 'twin';
}

/**
 * Laminar: small corrections. Transition: firmer ones, and less patience.
 * Crisis: nothing may chase the noise of a failing route, and least connections
 * would seek out those that fail fastest, so the gear goes round. Recovery: a
 * slow return.
 */
export const strictness: Readonly<Record<Regime, Strictness>> = {
  laminar: { viscosity: 1, deadBand: 1, evidence: 1, gear: 'twin' },
  recovery: { viscosity: 1, deadBand: 0.5, evidence: 1, gear: 'twin' },
  transition: { viscosity: 2, deadBand: 0.75, evidence: 0.75, gear: 'twin' },
  crisis: { viscosity: 2, deadBand: 1, evidence: 1.5, gear: 'single' },
};
