// What an invariant of a tick is: it looks at one route after another, and says what
// it saw beside what may be.
import type { Reason } from '../../field/reasons.js';
import type { RouteField, RouteMemory, RouteSignals } from '../../field/types.js';
import type { tickInvariants, TickView } from '../invariant.js';

/** One route in one tick. */
export interface RouteLook {
  readonly view: TickView;
  /** Undefined in the first tick that serves it. */
  readonly before: RouteMemory | undefined;
  readonly signals: RouteSignals;
  readonly field: RouteField;
  readonly reasons: readonly Reason[];
}

/** Broken where `seen` exceeds `limit`. */
export interface Sight {
  readonly seen: number;
  readonly limit: number;
  /** Whose doing it is; null: the route's. */
  readonly backend: string | null;
}

export interface Examiner {
  readonly name: (typeof tickInvariants)[number];
  /** Null where the invariant promises nothing of this tick. */
  look(look: RouteLook): Sight | null;
  /** One sentence of a sight that breaks it. */
  says(sight: Sight): string;
  /** The route is no longer served: what was remembered of it goes. */
  forget?(route: string): void;
}

/** The backends are those of the last tick, and hold what they were given. */
export function isStable({ before, signals, field }: RouteLook): boolean {
  return (
    before?.backends.size === signals.backends.length &&
    signals.backends.every(({ id, slots }) => slots > 0 && before.backends.has(id)) &&
    signals.backends.reduce((sum, { slots }) => sum + slots, 0) === field.slots
  );
}

/** An isolation frees slots in this tick, and its peers take them over at once. */
export function frees({ field }: RouteLook): boolean {
  return field.backends.some(
    ({ state, before, slots }) => state === 'isolated' && before > 1 && slots < before,
  );
}
