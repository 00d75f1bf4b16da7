// boundary: a route's slots name its own backends, each once, and no other's.
import type { Examiner } from './examiner.js';

export const boundary = (): Examiner => ({
  name: 'boundary',
  look: ({ signals, field }) => {
    const own = new Set(signals.name === field.name ? signals.backends.map(({ id }) => id) : []);
    const foreign = field.backends.filter(({ id }) => !own.delete(id));
    return { seen: foreign.length, limit: 0, backend: foreign[0]?.id ?? null };
  },
  says: ({ backend }) =>
    `${backend ?? 'A backend'} was given slots of a route that it does not belong to.`,
});
