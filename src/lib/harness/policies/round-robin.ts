// Each backend in turn, from a place of the node's own: begun at the same one, all
// nodes would go round together.
import type { MakeBalancer } from '../balancer.js';

export const roundRobin: MakeBalancer = (view) => {
  let backends: readonly number[] = [];
  let turn = Math.floor(view.random() * 1_000_000);
  return {
    serve(now) {
      backends = now.slice();
    },
    pick: () => (backends.length === 0 ? -1 : (backends[turn++ % backends.length] ?? -1)),
    ended: () => undefined,
  };
};
