// bounded-flapping: a valve changes its mode a few times a minute at most, and in a
// steady state (laminar for a minute) no backend's slots turn back more than once.
import type { Examiner, RouteLook } from './examiner.js';
import { isStable } from './examiner.js';

const minuteMs = 60_000;
/** Mode changes of one route in a minute: closing is immediate, and each opening dwells. */
const modesMost = 6;
const reversalsMost = 1;

interface Past {
  modes: number[];
  /** Since when the route has been laminar; null: it is not. */
  steadyFromMs: number | null;
  readonly turns: Map<string, { sign: number; atMs: number[] }>;
}

function turn(past: Past, backend: string, sign: number, atMs: number): number {
  const known = past.turns.get(backend);
  if (known === undefined) {
    past.turns.set(backend, { sign, atMs: [] });
    return 0;
  }
  known.atMs = known.atMs.filter((at) => at > atMs - minuteMs);
  if (known.sign !== sign) known.atMs.push(atMs);
  known.sign = sign;
  return known.atMs.length;
}

function reversals(past: Past, { field, view }: RouteLook) {
  let most = 0;
  let backend: string | null = null;
  for (const { id, before, slots } of field.backends) {
    if (before === slots) continue;
    const count = turn(past, id, Math.sign(slots - before), view.atMs);
    if (count > most) [most, backend] = [count, id];
  }
  return { seen: most, limit: reversalsMost, backend };
}

export const boundedFlapping = (): Examiner => {
  const pasts = new Map<string, Past>();
  return {
    name: 'bounded-flapping',
    look: (look) => {
      const { view, before, field } = look;
      const past = pasts.get(field.name) ?? { modes: [], steadyFromMs: null, turns: new Map() };
      pasts.set(field.name, past);
      past.modes = past.modes.filter((at) => at > view.atMs - minuteMs);
      if (before !== undefined && before.valve.mode !== field.valve.mode) {
        past.modes.push(view.atMs);
      }
      if (field.regime !== 'laminar' || !isStable(look)) past.steadyFromMs = null;
      else past.steadyFromMs ??= view.atMs;
      const steady = past.steadyFromMs !== null && view.atMs - past.steadyFromMs >= minuteMs;
      if (!steady) past.turns.clear();
      const turned = reversals(past, look);
      return steady && turned.seen > reversalsMost
        ? turned
        : { seen: past.modes.length, limit: modesMost, backend: null };
    },
    says: ({ seen, limit, backend }) =>
      backend === null
        ? `The valve changed its mode ${seen} times in a minute, where ${limit} may be.`
        : `${backend}'s slots turned back ${seen} times in a quiet minute, where ${limit} may be.`,
    forget: (route) => {
      pasts.delete(route);
    },
  };
};
