// The admission valve of a route (RFC 0002): it closes at once when something
// asks for it, and opens slowly, one mode at a time. What it refused is a debt, repaid
// out of the goodput that was measured.
import type { Knobs } from '../config/knobs.js';
import { average, faded, gain } from './arithmetic.js';
import { budgetOf, carriedOf, type Fare } from './budget.js';
import type { Cause } from './reasons.js';
import { admissionModes, type AdmissionMode } from './states.js';
import type { RouteSignals, ValveField, ValveMemory } from './types.js';

export const freshValve: ValveMemory = {
  mode: 'normal',
  inModeMs: 0,
  calmMs: 0,
  goodputPerSecond: null,
  offeredPerSecond: 0,
  unservedShare: 0,
  usualUnserved: 0,
  lateShare: 0,
  outcomes: 0,
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

/** Connects of the tick, in a second: that were asked for, and that came to something. */
function ratesOf({ backends, refused }: RouteSignals, dtMs: number) {
  let offered = refused;
  let good = 0;
  for (const { picks, connects, failures, unserved } of backends) {
    offered += picks;
    good += Math.max(0, connects - failures - unserved);
  }
  const perSecond = 1000 / Math.max(1, dtMs);
  return { offered: offered * perSecond, good: good * perSecond };
}

/** Time constant of how late answers are, and the part of ticks in which they must be. */
const lateMs = 1_000;
const mostlyLate = 0.7;
/** By so much more than usual must stay unserved. */
const missingShare = 0.1;
/** Standard deviations of a share that are taken for chance. */
const chanceSigmas = 3;
/** Fewer connects in the time that is remembered are no load. */
const fewConnects = 5;

/** What the valve goes by: loads and losses of the route, of late and as they usually are. */
export interface Flow {
  readonly goodputPerSecond: number;
  readonly offeredPerSecond: number;
  readonly unservedShare: number;
  readonly usualUnserved: number;
  readonly lateShare: number;
  readonly outcomes: number;
}

/**
 * First requests that were answered, and that were not. Where several clients dial the
 * route, the one with the most that were not is left out: no client closes it for others.
 */
function outcomesOf({ backends, clients }: RouteSignals): {
  readonly served: number;
  readonly unserved: number;
} {
  let served = 0;
  let unserved = 0;
  const lanes = new Map<number, { answers: number; unserved: number }>();
  for (const backend of backends) {
    served += backend.served;
    unserved += backend.unserved;
    for (const client of backend.clients) {
      const lane = lanes.get(client.lane) ?? { answers: 0, unserved: 0 };
      lane.answers += client.answers;
      lane.unserved += client.unserved;
      lanes.set(client.lane, lane);
    }
  }
  if (clients < 2) return { served, unserved };
  let worst = { answers: 0, unserved: 0 };
  for (const lane of lanes.values()) if (lane.unserved > worst.unserved) worst = lane;
  return {
    served: Math.max(0, served - worst.answers),
    unserved: Math.max(0, unserved - worst.unserved),
  };
}

/**
 * Follows the route's flow. What is usual is learned while the valve is open and answers are
 * in time: a protocol that wants no answer leaves its requests unserved all the time.
 */
export function followFlow(
  before: ValveMemory,
  signals: RouteSignals,
  late: boolean | null,
  dtMs: number,
  knobs: Knobs,
): Flow {
  const alpha = gain(dtMs, goodputMs);
  const { offered, good } = ratesOf(signals, dtMs);
  const { served, unserved } = outcomesOf(signals);
  const share = served + unserved === 0 ? before.unservedShare : unserved / (served + unserved);
  const unservedShare = faded(before.unservedShare + alpha * (share - before.unservedShare));
  // Without answers nothing is learned: a line from which nobody is answered is late still.
  const lateNow = late === null ? before.lateShare : Number(late);
  const lateShare = faded(before.lateShare + gain(dtMs, lateMs) * (lateNow - before.lateShare));
  const isCalm = before.mode === 'normal' && lateShare < mostlyLate / 2;
  const learned = isCalm ? gain(dtMs, knobs.latencyMs) : 0;
  return {
    goodputPerSecond: faded(average(before.goodputPerSecond, good, alpha) ?? 0),
    offeredPerSecond: faded(before.offeredPerSecond + alpha * (offered - before.offeredPerSecond)),
    unservedShare,
    usualUnserved: faded(before.usualUnserved + learned * (unservedShare - before.usualUnserved)),
    lateShare,
    outcomes: faded(before.outcomes * (1 - alpha) + served + unserved),
  };
}

/**
 * Capacity is missing when more is asked for than is answered, more than usual stays
 * unserved, and what is answered comes late: a line that only grows. Failures alone, latency
 * alone or silence alone never say so: to admit less would help against none of them.
 */
export function missingCapacity(flow: Flow): Cause | null {
  const { goodputPerSecond, offeredPerSecond, unservedShare, usualUnserved, outcomes } = flow;
  if (flow.lateShare < mostlyLate || (offeredPerSecond * goodputMs) / 1000 < fewConnects)
    return null;
  const spread = (usualUnserved * (1 - usualUnserved)) / Math.max(1, outcomes);
  const chance = chanceSigmas * Math.sqrt(spread);
  if (unservedShare < usualUnserved + Math.max(missingShare, chance)) return null;
  return {
    kind: 'capacity',
    offeredPerSecond,
    goodputPerSecond,
    unserved: unservedShare,
    usual: usualUnserved,
  };
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
  flow: Flow,
  refused: number,
  dtMs: number,
  knobs: Knobs,
): ValveStep {
  const goodput = flow.goodputPerSecond;
  const pressed = gravity(demand.mode) >= gravity(before.mode) && demand.mode !== 'normal';
  const calmMs = pressed ? 0 : before.calmMs + dtMs;
  const mode = nextMode(before, demand, calmMs, knobs);
  const repaid = (goodput * knobs.debtRepay * dtMs) / 1000;
  const debt = Math.min(
    goodput * debtMostSeconds,
    Math.max(0, before.debt + refused - (pressed ? 0 : repaid)),
  );
  const changed = mode !== before.mode;
  const carried = carriedOf(before.carriedPerSecond, goodput, dtMs);
  const rates = { ...flow, carriedPerSecond: carried };
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
