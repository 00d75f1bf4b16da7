// What may happen to a list, and that nothing is made of half of it: neither routes that
// are programmed too early, nor backends that are taken away because they were not read yet.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { InputError } from '../../src/lib/errors.js';
import { ApiClient } from '../../src/lib/kubernetes/client.js';
import { findWayInHere } from '../../src/lib/kubernetes/way-in.js';
import { readSlice, type SliceObject } from '../../src/lib/kubernetes/objects.js';
import { Watch } from '../../src/lib/kubernetes/watch.js';
import { goodToken } from './api-server.js';
import { service, slice } from './objects.js';
import { quickly, until } from './rig.js';
import { both, cart, Shop } from './shop.js';

const always = 1_000_000;

let shop: Shop;

beforeEach(async () => {
  shop = await Shop.open();
});

afterEach(async () => {
  await shop.close();
});

describe('a list of many pages', () => {
  it('is read to its end, page by page', async () => {
    const { server, rig } = shop;
    const shelves = shop.stock(10);
    await rig.open();
    await rig.shows(both, ...shelves);
    const pages = server.lists('services').map(({ query }) => query.get('limit'));
    expect(pages).toEqual(['3', '3', '3', '3']);
    expect(rig.served).toHaveLength(1);
  });

  it('that expires in its middle (410) is begun again', async () => {
    const { server, rig } = shop;
    const shelves = shop.stock(10);
    server.faults.expiredPages = 3;
    await rig.open();
    await rig.shows(both, ...shelves);
    expect(rig.log.join('\n')).toContain('the list expired on page 2');
    expect(rig.served).toHaveLength(1);
  });

  it('programs nothing before it is whole', async () => {
    const { server, rig } = shop;
    const shelves = shop.stock(10);
    server.faults.expiredPages = always;
    const cluster = await rig.open();
    await until(() => server.lists('services').length > 6);
    expect(rig.served).toEqual([]);
    expect(cluster.status()).toMatchObject({ synced: false, services: 0, slices: 0 });
    server.faults.expiredPages = 0;
    await rig.shows(both, ...shelves);
    expect(cluster.status().synced).toBe(true);
  });

  it('takes nothing away before it is whole', async () => {
    const { server, rig } = shop;
    const shelves = shop.stock(10);
    await rig.open();
    await rig.shows(both, ...shelves);
    await until(() => server.watching === 2);
    const [before, listed] = [rig.served.length, server.lists('endpointslices').length];
    server.faults.expiredPages = always;
    server.expireWatches();
    server.delete('services', 'shop', 'shelf-0');
    server.delete('endpointslices', 'shop', 'cart-1');
    await until(() => server.lists('endpointslices').length > listed + 6);
    expect(rig.served).toHaveLength(before);
    server.faults.expiredPages = 0;
    await rig.shows(`${cart} `, ...shelves.slice(1));
  });

  it('programs nothing while the other list is missing', async () => {
    const { server, rig } = shop;
    server.rights.get(goodToken)?.delete('list endpointslices');
    const cluster = await rig.open();
    await until(() => cluster.status().services === 1);
    await sleep(100);
    expect(rig.served).toEqual([]);
    server.rights.get(goodToken)?.add('list endpointslices');
    await rig.shows(both);
    // Never a Service without its endpoints: they would have been refused meanwhile.
    expect(rig.served).toHaveLength(1);
  });
});

describe('a large cluster', () => {
  it('of 5,000 slices is read by the page, and the routes are made when it is whole', async () => {
    const { server, rig } = shop;
    for (let i = 0; i < 100; i++) server.apply('services', service(`big/s${i}`, `127.96.2.${i}`));
    for (let i = 0; i < 4_999; i++) {
      const [ofService, address] = [`s${i % 100}`, `10.2.${i >> 8}.${i & 255}`];
      server.apply('endpointslices', slice(`big/slice-${i}`, ofService, [address]));
    }
    const cluster = await rig.open({
      timing: { ...quickly, answerMs: 5_000, pageSize: 500 },
      backendsAtOnce: 10_000,
      capacity: () => ({
        addresses: 1e3,
        routes: 1e3,
        backends: 1e4,
        slots: 1e6,
        slotsOf: () => 64,
      }),
    });
    await until(() => cluster.status().synced, 20_000);
    expect(server.lists('endpointslices')).toHaveLength(10);
    expect(cluster.status()).toMatchObject({ services: 101, slices: 5_000, routes: 101 });
    expect(rig.served).toHaveLength(1);
    const backends = rig.served[0]?.flatMap((route) => route.backends) ?? [];
    expect(new Set(backends.map(({ address }) => address)).size).toBe(5_001);
  });

  it('is handed over in parts, of which only the last may take something away', async () => {
    const { rig } = shop;
    const shelves = shop.stock(10);
    const cluster = await rig.open({ backendsAtOnce: 21 }, { ticks: false });
    await until(() => cluster.synced);
    // One to set them together, and three to hand them over.
    for (let tick = 0; tick < 4; tick++) {
      expect(cluster.status().synced).toBe(false);
      rig.tick(cluster);
    }
    expect(rig.served.map(({ length }) => length)).toEqual([4, 8, 11]);
    expect(rig.whole).toEqual([false, false, true]);
    expect(cluster.status()).toMatchObject({ synced: true, oldestUnappliedMs: null });
    await rig.shows(both, ...shelves);
  });

  it('whose Services change together has no change in force before it is handed over', async () => {
    const { server, rig } = shop;
    shop.stock(10);
    // Making the routes of three Services fills a tick.
    const cluster = await rig.open({ backendsAtOnce: 3 }, { ticks: false });
    await until(() => {
      rig.tick(cluster);
      return cluster.status().synced;
    });
    const before = cluster.status().applying.count;
    for (let i = 0; i < 10; i++)
      server.apply('endpointslices', slice(`shop/shelf-${i}-1`, `shelf-${i}`, ['10.9.0.1']));
    const inForce = () => rig.now.filter((line) => line.includes('10.9.0.1')).length;
    await until(() => {
      rig.tick(cluster);
      expect(cluster.status().applying.count - before).toBeLessThanOrEqual(inForce());
      return inForce() === 10 && cluster.status().oldestUnappliedMs === null;
    });
    expect(cluster.status().applying.count - before).toBe(10);
  });

  it('with a Service that fills a tick and never rests has time for the others', async () => {
    const { server, rig } = shop;
    shop.stock(1);
    const cluster = await rig.open({ backendsAtOnce: 3 }, { ticks: false });
    await until(() => {
      rig.tick(cluster);
      return cluster.status().synced;
    });
    server.apply('endpointslices', slice('shop/shelf-0-1', 'shelf-0', ['10.9.0.1']));
    const crowd = Array.from({ length: 30 }, (_, i) => `10.2.0.${i + 1}`);
    for (let change = 0; change < 40; change++) {
      shop.scale(...crowd, `10.3.0.${change + 1}`);
      await sleep(5);
      rig.tick(cluster);
    }
    expect(rig.now.join('\n')).toContain('10.9.0.1');
  });
});

describe('a handler that throws', () => {
  it('over the routes does not lose them: they are handed over at the next tick', async () => {
    const { rig } = shop;
    const cluster = await rig.open({}, { ticks: false });
    await until(() => cluster.synced);
    const broken = () => {
      throw new Error('the disk is on fire');
    };
    expect(() => {
      cluster.apply(broken);
    }).toThrow('the disk is on fire');
    rig.tick(cluster);
    expect(rig.now).toEqual([both]);
  });

  it('because there is no room is told once, and tried until there is', async () => {
    const { rig } = shop;
    const cluster = await rig.open({}, { ticks: false });
    await until(() => cluster.synced);
    const full = () => {
      throw new InputError('There is no room.', 'Wait.');
    };
    for (let i = 0; i < 3; i++) cluster.apply(full);
    expect(rig.log.filter((line) => line.includes('There is no room.'))).toHaveLength(1);
    rig.tick(cluster);
    expect(rig.now).toEqual([both]);
  });

  it.each(['list', 'watch'])('over one object of a %s leaves the others', async (where) => {
    const { server, rig } = shop;
    const poison = slice('shop/poison', 'cart', ['10.0.0.66']);
    if (where === 'list') server.apply('endpointslices', poison);
    const wayIn = await findWayInHere({ kubeconfig: rig.kubeconfig });
    const client = new ApiClient(wayIn, quickly);
    const known = new Map<string, SliceObject>();
    const warned: string[] = [];
    const watch = new Watch<SliceObject>({
      client,
      resource: {
        name: 'endpointslices',
        path: '/apis/discovery.k8s.io/v1/endpointslices',
        labelSelector: '',
        read: (object) => {
          const read = readSlice(object);
          if (read?.key === 'shop/poison') throw new Error('unreadable');
          return read;
        },
      },
      sink: {
        replace: (objects) => {
          for (const [key, object] of objects) known.set(key, object);
        },
        put: (object) => known.set(object.key, object),
        remove: (key) => known.delete(key),
      },
      timing: quickly,
      log: { info: () => undefined, warn: (line) => warned.push(line) },
      random: () => 0.5,
    });
    const stop = new AbortController();
    const running = watch.run(stop.signal);
    await until(() => server.watching === 1);
    if (where === 'watch') server.apply('endpointslices', poison);
    server.apply('endpointslices', slice('shop/cart-2', 'cart', ['10.0.0.3']));
    await until(() => known.has('shop/cart-2'));
    expect([...known.keys()]).toEqual(['shop/cart-1', 'shop/cart-2']);
    expect(warned.join('\n')).toContain('unreadable');
    stop.abort();
    await running;
    client.close();
  });
});
