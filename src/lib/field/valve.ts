// The admission valve of a route (RFC 0002): it closes at once when something
// asks for it, and opens slowly, one mode at a time. What it refused is a debt, repaid
// out of the goodput that was measured.
import type { Knobs } from '../config/knobs.js';
import { average, faded, gain, sum } from './arithmetic.js';
import { budgetOf, carriedOf, type Fare } from './budget.js';
import type { Cause } from './reasons.js';
import { admissionModes, type AdmissionMode } from './states.js';
import type { RouteSignals, ValveField, ValveMemory } from './types.js';

export const freshValve: ValveMemory = {
  mode: 'normal',
  inModeMs: 0,
  calmMs: 0,
  goodputPerSecond: null,
  carriedPerSecond: 0,
  budgetPerSecond: null,
  debt: 0,
};

/** What the valve is asked for, and why; normal has no cause. */
export interface Demand {
  readonly mode: AdmissionMode;
  readonly cause: Cause | null;
}

const goodputMs = 2_000;
/** Refused clients that have not come back by now have gone elsewhere. */
const debtMostSeconds = 60;

function gravity(mode: AdmissionMode): number {
  return admissionModes.indexOf(mode);
}

/** The gravest of several demands; the first of equals. */
export function gravest(demands: readonly Demand[]): Demand {
  return demands.reduce((worst, demand) =>
    gravity(demand.mode) > gravity(worst.mode) ? demand : worst,
  );
}

/** Connects of the tick that came to something, in a second. */
function goodputOf({ backends }: RouteSignals, dtMs: number): number {
  const good = sum(backends.map(({ connects, failures }) => Math.max(0, connects - failures)));
  return (good * 1000) / Math.max(1, dtMs);
}

function nextMode(
  before: ValveMemory,
  demand: Demand,
  calmMs: number,
  knobs: Knobs,
): AdmissionMode {
  if (gravity(demand.mode) > gravity(before.mode)) return demand.mode;
  if (gravity(demand.mode) === gravity(before.mode)) return before.mode;
  if (calmMs < knobs.recoverMs || before.inModeMs < knobs.dwellMs) return before.mode;
  // Those who were refused come back: while that is being made up for, soft stays.
  if (before.mode === 'soft' && before.debt > 0) return 'soft';
  return admissionModes[gravity(before.mode) - 1] ?? 'normal';
}

function fareOf({ cause }: Demand, congested: boolean, pressed: boolean): Fare {
  if (congested) return 'congested';
  if (!pressed) return 'relieved';
  return cause?.kind === 'ttf' || cause?.kind === 'stall' ? 'exhausted' : 'pressed';
}

export interface ValveStep {
  readonly memory: ValveMemory;
  readonly field: ValveField;
}

export function stepValve(
  before: ValveMemory,
  demand: Demand,
  congested: boolean,
  signals: RouteSignals,
  dtMs: number,
  knobs: Knobs,
): ValveStep {
  const goodput = faded(
    average(before.goodputPerSecond, goodputOf(signals, dtMs), gain(dtMs, goodputMs)) ?? 0,
  );
  const pressed = gravity(demand.mode) >= gravity(before.mode) && demand.mode !== 'normal';
  const calmMs = pressed ? 0 : before.calmMs + dtMs;
  const mode = nextMode(before, demand, calmMs, knobs);
  const repaid = (goodput * knobs.debtRepay * dtMs) / 1000;
  const debt = Math.min(
    goodput * debtMostSeconds,
    Math.max(0, before.debt + signals.refused - (pressed ? 0 : repaid)),
  );
  const changed = mode !== before.mode;
  const carried = carriedOf(before.carriedPerSecond, goodput, dtMs);
  const rates = { carriedPerSecond: carried, goodputPerSecond: goodput };
  const fare = fareOf(demand, congested, pressed);
  const budgetPerSecond =
    mode === 'soft' ? budgetOf(before.budgetPerSecond, fare, rates, dtMs, knobs) : null;
  const memory: ValveMemory = {
    mode,
    inModeMs: changed ? 0 : before.inModeMs + dtMs,
    calmMs: changed ? 0 : calmMs,
    ...rates,
    budgetPerSecond,
    debt,
  };
  return {
    memory,
    field: {
      mode,
      cause: mode === 'normal' ? null : demand.cause,
      budgetPerSecond,
      // Half a second's worth: what a tick's jitter may bunch together.
      burst: Math.max(1, Math.ceil((budgetPerSecond ?? 0) / 2)),
      goodputPerSecond: goodput,
      debt,
      calmMs: memory.calmMs,
    },
  };
}
