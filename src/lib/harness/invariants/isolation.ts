// max-isolation: at most half of a route is out of the game, or isolation would be the
// cascade that it is there to prevent.
import type { Examiner } from './examiner.js';

export const maxIsolation = (): Examiner => ({
  name: 'max-isolation',
  look: ({ field: { backends } }) => {
    if (backends.length === 0) return null;
    const out = backends.filter(({ state }) => state === 'isolated');
    return {
      seen: out.length / backends.length,
      limit: 0.5,
      backend: out.at(-1)?.id ?? null,
    };
  },
  says: ({ seen }) => `${Math.round(seen * 100)} % of the route's backends are isolated, not half.`,
});
