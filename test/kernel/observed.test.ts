// Routes of which connects are only observed, on real sockets: what the agent and the kernel
// judge of a backend keeps nobody from it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Route } from '../../src/lib/routes/route-set.js';
import { Rig, unavailable } from './rig.js';

describe.skipIf(unavailable !== undefined)('a route that is observed', () => {
  let rig: Rig;

  const entryOf = ({ name }: Route) => {
    const entry = rig.projector.book.routes.get(name);
    if (entry === undefined) throw new Error('not served');
    return entry;
  };
  /** Three backends, of which the agent has isolated the first. */
  const judged = async (observedPercent: number) => {
    const route = rig.route(await rig.startServers(3), { gear: 'twin' });
    rig.serve([route]);
    const first = rig.backendIndex(route, 0);
    rig.projector.setDrip(first, 600_000, 600_000, false);
    rig.projector.setBackendState(first, 'isolated');
    rig.projector.setObserved(entryOf(route), observedPercent);
    return route;
  };

  beforeEach(() => {
    rig = new Rig();
    rig.start();
  });

  afterEach(async () => {
    await rig.stop();
  });

  it('sends an isolated backend its even share, and draws no second choice', async () => {
    const route = await judged(100);
    const answers = await rig.dialMany(route, 128);
    const counts = [...answers.values()];
    expect(answers.size).toBe(3);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(42);
    expect(Math.max(...counts)).toBeLessThanOrEqual(44);
    expect(rig.snapshot.counters()['pickedTwin']).toBe(0n);
  });

  it('sends it nothing where all is enforced, and about half where half is', async () => {
    const route = await judged(0);
    expect((await rig.dialMany(route, 64)).get('server-0')).toBeUndefined();
    rig.projector.setObserved(entryOf(route), 50);
    const half = (await rig.dialMany(route, 600)).get('server-0') ?? 0;
    // A sixth of them, and a fifth where each that passes it takes another's turn; and chance.
    expect(half).toBeGreaterThan(70);
    expect(half).toBeLessThan(150);
  });

  it('goes by suspicion of refused connects no more than by isolation', async () => {
    const [alive, dead] = await rig.startServers(2);
    dead?.close();
    const route = rig.route([alive ?? { port: 0 }, dead ?? { port: 0 }]);
    rig.serve([route]);
    rig.projector.setObserved(entryOf(route), 100);
    const answers = await rig.dialMany(route, 64);
    expect(Object.fromEntries(answers)).toEqual({ 'server-0': 32, ECONNREFUSED: 32 });
    expect(rig.snapshot.counters()['notedSuspectPassed']).toBe(0n);
  });

  it.each(['soft', 'hard'] as const)(
    'meets an open valve while the agent’s is %s',
    async (mode) => {
      const route = rig.route(await rig.startServers(1));
      rig.serve([route]);
      rig.projector.setObserved(entryOf(route), 100);
      rig.projector.setAdmission(entryOf(route), mode, { ratePerSecond: 0.01, burst: 1 });
      expect((await rig.dialMany(route, 20)).get('server-0')).toBe(20);
      expect(rig.snapshot.routes()[0]).toMatchObject({ refused: 0n, enforcedPercent: 0 });
      rig.projector.setObserved(entryOf(route), 0);
      expect((await rig.dialMany(route, 20)).get('ECONNREFUSED') ?? 0).toBeGreaterThanOrEqual(19);
    },
  );
});
