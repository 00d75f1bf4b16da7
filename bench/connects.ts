// What a client sees: how fast it connects, by each way to the same backend.
import type { ChildProcess } from 'node:child_process';

import { backends, directAddress, firstVip, type Dataplane, type Dial, type Rig } from './rig.js';
import { paired, series, type Series } from './statistics.js';

export interface ConnectRates {
  /** Nanoseconds per connect and close. */
  readonly translated: Series;
  readonly direct: Series;
  /** From a cgroup without programs. */
  readonly bare: Series;
  readonly nat: Series;
  /** Rates, so above 1 is faster: the service address over dialling the backend. */
  readonly translatedOverDirect: Series;
  readonly translatedOverBare: Series;
  readonly directOverBare: Series;
  readonly natOverBare: Series;
  readonly translatedOverNat: Series;
}

/** Each round takes all four ways, each time beginning with another. */
export async function measureRates(
  rig: Rig,
  dataplane: Dataplane,
  servers: { readonly plain: ChildProcess; readonly nat: ChildProcess },
  { rounds, connects }: { readonly rounds: number; readonly connects: number },
): Promise<ConnectRates> {
  const bare = rig.cgroup('bare');
  const { cgroup } = dataplane;
  // The same backends in the same order as the other ways choose them.
  const direct = { address: directAddress, connects, spread: backends.length };
  const ways: readonly Dial[] = [
    { server: servers.plain, cgroup, address: firstVip, connects },
    { server: servers.plain, cgroup, ...direct },
    { server: servers.plain, cgroup: bare, ...direct },
    { server: servers.nat, cgroup: bare, address: firstVip, connects },
  ];
  const ns = ways.map((): number[] => []);
  // The first of each way warms it up, and is not counted.
  for (const way of ways) await rig.dial(way);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < ways.length; turn++) {
      const i = (round + turn) % ways.length;
      const way = ways[i];
      if (way !== undefined) ns[i]?.push(await rig.dial(way));
    }
    dataplane.drainEvents();
  }
  const [translated = [], past = [], without = [], nat = []] = ns;
  const rate = (left: readonly number[], right: readonly number[]) =>
    series(paired(left, right, (a, b) => b / a));
  return {
    translated: series(translated),
    direct: series(past),
    bare: series(without),
    nat: series(nat),
    translatedOverDirect: rate(translated, past),
    translatedOverBare: rate(translated, without),
    directOverBare: rate(past, without),
    natOverBare: rate(nat, without),
    translatedOverNat: rate(translated, nat),
  };
}
