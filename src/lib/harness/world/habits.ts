// What a group of clients does of its own: when its members come, how long they hold a
// connection, when they give up. Each draws from streams of its own, so that what one
// group does shifts nothing for another.
import { samplerOf, type Sampler } from '../chance/distributions.js';
import { randomOf, type Random } from '../chance/random.js';
import type { ClientGroup } from '../clients.js';
import type { DistributionSpec } from '../quantities.js';
import type { Scenario } from '../scenario.js';

export interface Habits {
  /** Its place in the scenario. */
  readonly number: number;
  readonly spec: ClientGroup;
  /** The client that it is, by the number of its network namespace. */
  readonly client: number;
  readonly arrivals: Random;
  /** Until the answer comes, where it waits for its event and not for the backend's work. */
  readonly eventMs: Sampler | undefined;
  /** How long a connection is kept after all was said. */
  readonly holdMs: Sampler;
  /** How long the client sends. */
  readonly sendMs: Sampler;
  /** The client's patience. */
  readonly patienceMs: Sampler;
  /** Until a pool's connection is used again. */
  readonly restMs: Sampler;
  /** How long a pool's connection is kept. */
  readonly lastMs: Sampler;
}

const never: Sampler = () => Infinity;

function habitsOf(spec: ClientGroup, number: number, alone: boolean, seed: number): Habits {
  const sampler = (purpose: string, from: DistributionSpec | undefined, otherwise: Sampler) =>
    from === undefined
      ? otherwise
      : samplerOf(from, randomOf(seed, `${purpose} of clients ${spec.name}`));
  const { timeout } = spec;
  const patience: Sampler = () => timeout;
  const deadline =
    spec.speaks === 'gives-up' ? sampler('deadline', spec.deadline, patience) : patience;
  return {
    number,
    spec,
    client: spec.on ?? number + 1,
    arrivals: randomOf(seed, alone ? 'arrivals' : `arrivals of clients ${spec.name}`),
    eventMs: spec.speaks === 'late' ? sampler('event', spec.service, never) : undefined,
    holdMs: sampler('hold', 'holds' in spec ? spec.holds : undefined, never),
    sendMs: sampler('sends', spec.speaks === 'uploads' ? spec.sends : undefined, never),
    patienceMs: () => Math.min(timeout, deadline()),
    restMs: sampler('rest', spec.speaks === 'pool' ? spec.rests : undefined, never),
    lastMs: sampler('last', spec.speaks === 'pool' ? spec.lasts : undefined, never),
  };
}

export function allHabits({ clients }: Scenario, seed: number): Habits[] {
  return clients.map((spec, number) => habitsOf(spec, number, clients.length === 1, seed));
}
