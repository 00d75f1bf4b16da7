// Services that come, change and go: what is assembled step by step is what would be
// assembled at once, and what did not change is not made again.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Assembler, type Capacity, type Claimant } from '../../src/lib/kubernetes/assemble.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';

const tight: Capacity = { addresses: 5, routes: 4, backends: 6, slots: 512, slotsOf: () => 64 };
const wide: Capacity = { addresses: 99, routes: 99, backends: 99, slots: 9_999, slotsOf: () => 64 };
const vips = ['127.96.0.1', '127.96.0.2', '127.96.0.3', '127.96.0.4'];

function routeOf(key: string, port: number, hosts: readonly string[], backends: number): Route {
  return {
    name: routeName(key, port),
    addresses: hosts.map((vip) => ({ vip, port, protocol: 'TCP' })),
    backends: Array.from({ length: backends }, (_, i) => ({ address: `10.0.0.${i}`, port })),
    affinity: { kind: 'none' },
    gear: 'auto',
  };
}

const step = fc.record({
  key: fc.constantFrom('shop/a', 'shop/b', 'shop/c', 'shop/d'),
  /** The youngest of all is not always the newest. */
  createdMs: fc.constantFrom(1_000, 2_000, 3_000),
  hosts: fc.uniqueArray(fc.constantFrom(...vips), { minLength: 1, maxLength: 3 }),
  ports: fc.uniqueArray(fc.constantFrom(80, 443), { minLength: 0, maxLength: 2 }),
  backends: fc.nat({ max: 3 }),
  gone: fc.boolean(),
  excluded: fc.option(fc.constantFrom(...vips), { freq: 5 }),
  capacity: fc.constantFrom(tight, wide),
});

describe('Services that come, change and go', () => {
  it('are assembled as if all had come at once', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const assembler = new Assembler();
        const claimants = new Map<string, Claimant>();
        let excluded = new Set<string>();
        for (const { key, createdMs, hosts, ports, backends, gone, ...now } of steps) {
          const routes = ports.map((port) => routeOf(key, port, hosts, backends));
          if (gone) claimants.delete(key);
          else claimants.set(key, { key, createdMs, made: { routes, skipped: [] } });
          if (now.excluded !== null) excluded = new Set([`${now.excluded}:80`]);
          expect(assembler.assemble(claimants, excluded, now.capacity)).toEqual(
            new Assembler().assemble(claimants, excluded, now.capacity),
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  it('leave the routes of others the same objects, also those that share their addresses', () => {
    const assembler = new Assembler();
    const nothing = new Set<string>();
    const claim = (
      key: string,
      createdMs: number,
      hosts: string[],
      backends: number,
    ): Claimant => ({
      key,
      createdMs,
      made: { routes: [routeOf(key, 80, hosts, backends)], skipped: [] },
    });
    const [one = '', two = '', three = ''] = vips;
    const claimants = new Map([
      ['shop/old', claim('shop/old', 1, [one, two], 1)],
      ['shop/new', claim('shop/new', 2, [two, three], 1)],
    ]);
    const before = assembler.assemble(claimants, nothing, wide).routes;
    expect(before.map(({ addresses }) => addresses.length)).toEqual([2, 1]);

    claimants.set('shop/old', claim('shop/old', 1, [one, two], 2));
    const scaled = assembler.assemble(claimants, nothing, wide).routes;
    expect(scaled[0]).not.toBe(before[0]);
    expect(scaled[1]).toBe(before[1]);

    claimants.set('shop/third', claim('shop/third', 3, ['127.96.0.9'], 1));
    const joined = assembler.assemble(claimants, nothing, wide).routes;
    expect(joined.slice(0, 2)).toEqual(scaled);
    expect(joined[1]).toBe(before[1]);
  });
});
