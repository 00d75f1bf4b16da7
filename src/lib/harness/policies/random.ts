// A backend at random, as kube-proxy's iptables and nftables rules choose (`numgen
// random`, statistic mode random).
import type { MakeBalancer } from '../balancer.js';

export const random: MakeBalancer = (view) => {
  let backends: readonly number[] = [];
  return {
    serve(now) {
      backends = now.slice();
    },
    pick: () => backends[Math.floor(view.random() * backends.length)] ?? -1,
    ended: () => undefined,
  };
};
