// The backend with the fewest of this node's requests under way; among equals the next
// in turn, as HAProxy's leastconn does. It counts all: O(n) a pick, stopping at an idle one.
import type { MakeBalancer } from '../balancer.js';
import { Roster } from './roster.js';

export const leastConnections: MakeBalancer = (view) => {
  const roster = new Roster();
  let turn = Math.floor(view.random() * 1_000_000);
  return {
    serve(backends) {
      roster.serve(backends);
    },
    pick() {
      const { size, pending } = roster;
      if (size === 0) return -1;
      let best = turn % size;
      for (let i = 0; i < size; i++) {
        const place = (turn + i) % size;
        if ((pending[place] ?? 0) < (pending[best] ?? 0)) best = place;
        if (pending[best] === 0) break;
      }
      turn = best + 1;
      return roster.began(best);
    },
    ended(_request, backend) {
      roster.ended(backend);
    },
  };
};
