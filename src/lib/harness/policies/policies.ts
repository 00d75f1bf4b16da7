// The policies that ours is compared with.
import type { MakeBalancer, PolicyName } from '../balancer.js';
import { hotCold } from './hot-cold.js';
import { leastConnections } from './least-connections.js';
import { peakEwma } from './peak-ewma.js';
import { random } from './random.js';
import { roundRobin } from './round-robin.js';
import { twoChoices } from './two-choices.js';

export const policies: Readonly<
  Record<Exclude<PolicyName, 'nity' | 'gear'>, { readonly make: MakeBalancer }>
> = {
  random: { make: random },
  'round-robin': { make: roundRobin },
  'least-connections': { make: leastConnections },
  'two-choices': { make: twoChoices },
  'peak-ewma': { make: peakEwma },
  'hot-cold': { make: hotCold },
};
