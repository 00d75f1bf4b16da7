// Of two different backends at random, the one with fewer of this node's requests under
// way (M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE
// TPDS 12, 2001). Of equals, the first that was drawn.
import type { MakeBalancer } from '../balancer.js';
import { Roster, twoOf } from './roster.js';

export const twoChoices: MakeBalancer = (view) => {
  const roster = new Roster();
  return {
    serve(backends) {
      roster.serve(backends);
    },
    pick() {
      const { size, pending } = roster;
      if (size < 2) return size === 0 ? -1 : roster.began(0);
      const [a, b] = twoOf(size, () => view.random());
      return roster.began((pending[b] ?? 0) < (pending[a] ?? 0) ? b : a);
    },
    ended(_request, backend) {
      roster.ended(backend);
    },
  };
};
