// Rest: a route whose memory is spent and to which nothing happens need not be
// computed again, for the law would come to the same. Most routes of a node rest.
import type { Knobs } from '../config/knobs.js';
import type { BackendSignals, LaneMemory, RouteField, RouteMemory, RouteSignals } from './types.js';
import type { Demand } from './valve.js';

/** A tick in which nothing happened to a backend, and nobody said anything of it. */
export function didNothing(signals: BackendSignals): boolean {
  return (
    signals.picks === 0 &&
    signals.connects === 0 &&
    signals.failures === 0 &&
    signals.unserved === 0 &&
    signals.served === 0 &&
    signals.retransmits === 0 &&
    signals.consecutiveFailures === 0 &&
    !(signals.openMean !== null && signals.openMean > 0) &&
    (signals.firstByte === null || signals.firstByte.length === 0) &&
    (signals.waiting === null || signals.waiting.count === 0) &&
    (signals.working === null || signals.working === 0) &&
    signals.dial === null &&
    signals.stalls === null &&
    signals.app === null
  );
}

/**
 * Signals that were found to bring this rest nothing: of an idle route the sensors say the
 * same object again, and need not be looked through in each tick.
 */
const quiet = new WeakMap<RouteSignals, RouteField>();

function isQuiet(route: RouteSignals, rest: RouteField): boolean {
  if (quiet.get(route) === rest) return true;
  const found =
    route.refused === 0 &&
    rest.backends.length === route.backends.length &&
    route.backends.every((signals, i) => {
      const known = rest.backends[i];
      return known?.id === signals.id && known.slots === signals.slots && didNothing(signals);
    });
  if (found) quiet.set(route, rest);
  return found;
}

/** Whether the tick brings a resting route nothing new. */
export function isIdle(route: RouteSignals, before: RouteMemory, node: Demand): boolean {
  const { rest, overridden } = before;
  return (
    rest !== null && node.mode === 'normal' && route.override === overridden && isQuiet(route, rest)
  );
}

function isSpentLane({ connects, failures, answers, unserved, working }: LaneMemory): boolean {
  return connects + failures + answers + unserved + working === 0;
}

/** Whether nothing in the memory changes any more by itself. */
export function isSpent(memory: RouteMemory, knobs: Knobs): boolean {
  const { moving, offMs, guard, regime, valve, overridden } = memory;
  if (moving || offMs > 0 || guard !== 1 || regime !== 'laminar' || overridden !== null)
    return false;
  if (valve.mode !== 'normal' || valve.debt > 0 || valve.lateShare > 0) return false;
  if (valve.offeredPerSecond > 0) return false;
  if (valve.goodputPerSecond !== null && valve.goodputPerSecond > 0) return false;
  for (const backend of memory.backends.values()) {
    const { connects, failures, served, unserved, retransmits, answers, circuit } = backend;
    if (connects + failures + served + unserved + retransmits + answers > 0) return false;
    const { evidence, networkBits, serviceBits, open, working } = backend;
    if (evidence + networkBits + serviceBits + (open ?? 0) + (working ?? 0) > 0) return false;
    if (!backend.lanes.every(isSpentLane)) return false;
    if (circuit.kind !== 'admitted' || circuit.nextCooldownMs > knobs.isolationMs) return false;
  }
  return true;
}

function isAlike(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null)
    return Object.is(a, b);
  return Object.entries(a).every(([name, value]) => isAlike(value, b[name as keyof typeof b]));
}

/**
 * The same field, in which backends that are alike share their memory and their pressure: of
 * a hundred thousand on a node most have done nothing, and are remembered while they rest.
 */
export function shared(field: RouteField): RouteField {
  const [first, ...others] = field.backends;
  if (first === undefined) return field;
  const backends = others.map((backend) => {
    const memory = isAlike(backend.memory, first.memory) ? first.memory : backend.memory;
    const pressure = isAlike(backend.pressure, first.pressure) ? first.pressure : backend.pressure;
    return { ...backend, memory, pressure };
  });
  return { ...field, backends: [first, ...backends] };
}
