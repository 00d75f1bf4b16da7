// no-blackhole: while a route has backends, whoever is admitted has somewhere to go, and
// a valve that lets nobody in says why it does.
import type { Examiner, RouteLook } from './examiner.js';

function leadsNowhere({ field: { backends, valve } }: RouteLook): boolean {
  const open = backends.some(({ state, slots }) => state !== 'isolated' && slots > 0);
  const lets = valve.mode !== 'soft' || (valve.budgetPerSecond ?? Infinity) > 0;
  return !open || !lets;
}

export const noBlackhole = (): Examiner => ({
  name: 'no-blackhole',
  look: (look) =>
    look.field.backends.length === 0
      ? null
      : { seen: leadsNowhere(look) ? 1 : 0, limit: 0, backend: null },
  says: () => 'The route has backends, and yet no connect of it leads anywhere.',
});
