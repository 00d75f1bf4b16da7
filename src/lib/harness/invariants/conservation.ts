// conservation: Σ slots = S, whole and not negative, as long as there is a backend.
import type { Examiner } from './examiner.js';

export const conservation = (): Examiner => ({
  name: 'conservation',
  look: ({ field }) => {
    const owed = field.backends.length === 0 ? 0 : field.slots;
    const sum = field.backends.reduce((total, { slots }) => total + slots, 0);
    const odd = field.backends.find(({ slots }) => !Number.isSafeInteger(slots) || slots < 0);
    if (odd !== undefined) return { seen: Infinity, limit: 0, backend: odd.id };
    return { seen: Math.abs(sum - owed), limit: 0, backend: null };
  },
  says: ({ seen, backend }) =>
    backend === null
      ? `The slots of the route's backends are ${seen} off the slots it has.`
      : `${backend} has a number of slots that is none.`,
});
