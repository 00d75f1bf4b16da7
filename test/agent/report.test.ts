// What the agent remembers of its changes: the last of each route, and no more than it can
// hold of a node with many.
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent, type Tick } from '../../src/lib/agent/agent.js';
import { Reporter } from '../../src/lib/agent/report.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Reason } from '../../src/lib/field/reasons.js';
import type { RouteField } from '../../src/lib/field/types.js';
import { routeName } from '../../src/lib/routes/route-set.js';

const isolated = (route: string, to: number): Reason => ({
  change: { of: 'slots', route, backend: '10.0.0.1:80', from: 32, to, because: '10.0.0.1:80' },
  cause: { kind: 'isolation', of: 'errors', cooldownMs: 2_000, own: 1, peers: 0 },
});

describe('what the agent remembers of its changes', () => {
  let reporter: Reporter;
  let tick: Tick;
  let one: RouteField;
  let sequence: number;

  beforeEach(() => {
    const agent = new Agent({
      plane: new ModelSource(defaultKnobs).plane(),
      knobs: defaultKnobs,
      exclusively: (change) => change(),
    });
    agent.serve([
      {
        name: routeName('shop/cart', 'http'),
        addresses: [{ vip: '127.96.0.1', port: 80, protocol: 'TCP' }],
        backends: [{ address: '10.0.0.1', port: 80 }],
        affinity: { kind: 'none' },
        gear: 'auto',
      },
    ]);
    tick = agent.tick();
    const [route] = tick.field.routes;
    if (route === undefined) throw new Error('the route is not served');
    one = route;
    reporter = new Reporter('0.1.0');
    sequence = 0;
  });

  /** A tick with these changes on these routes. */
  function see(reasons: readonly Reason[], names: readonly string[] = ['shop/cart:http']): void {
    const routes = names.map((name) => ({ ...one, name }));
    const field = { ...tick.field, routes };
    sequence++;
    reporter.see({ ...tick, sequence, reasons, field }, sequence * 200, {});
  }
  const told = (route: string) => reporter.report(sequence * 200, route)?.routes[0]?.reasons ?? [];

  it('is the sixteen newest of a route, latest first, with their age', () => {
    for (let to = 1; to <= 20; to++) see([isolated('shop/cart:http', to)]);
    const changes = told('shop/cart:http');
    expect(changes).toHaveLength(16);
    expect(changes[0]).toMatchObject({ change: { to: 20 }, agoMs: 0, sequence: 20 });
    expect(changes.at(-1)).toMatchObject({ change: { to: 5 }, agoMs: 3_000 });
  });

  it('is of the routes that changed last, where there are very many', () => {
    const names = Array.from({ length: 1_000 }, (_, i) => `shop/s${i}:http`);
    const sixteen = Array.from({ length: 16 }, (_, to) => to);
    for (const name of names) {
      see(
        sixteen.map((to) => isolated(name, to)),
        names,
      );
    }
    const held = () => names.reduce((sum, name) => sum + told(name).length, 0);
    expect(held()).toBe(8_000);
    expect(told('shop/s999:http')).toHaveLength(16);
    expect(told('shop/s500:http')).toHaveLength(16);
    expect(told('shop/s499:http')).toEqual([]);

    see([isolated('shop/s0:http', 11)], names);
    expect(told('shop/s0:http')).toMatchObject([{ change: { to: 11 } }]);
    expect(told('shop/s500:http')).toEqual([]);
  });

  it('is, for a live view, what is younger than a tick, of all routes', () => {
    see([isolated('shop/a:http', 1)]);
    see([isolated('shop/b:http', 2), isolated('shop/c:http', 3)]);
    const { changes = [] } = reporter.changesSince(sequence * 200, 1) ?? {};
    expect(changes.map(({ change }) => 'route' in change && change.route)).toEqual([
      'shop/c:http',
      'shop/b:http',
    ]);
  });
});
