// What may happen to a watch, and that the routes come through it: the API server misbehaves,
// the last good state stays, and the cluster as it is comes back by itself.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { node, slice } from './objects.js';
import { quickly, until } from './rig.js';
import { both, cart, Shop } from './shop.js';

let shop: Shop;

/** Served and watched: whatever comes now comes by the watch. */
async function openAndWatch(): Promise<void> {
  await shop.rig.open();
  await shop.rig.shows(both);
  await until(() => shop.server.watching === 2);
}

beforeEach(async () => {
  shop = await Shop.open();
});

afterEach(async () => {
  await shop.close();
});

describe('a watch', () => {
  it('whose version is gone when it begins (410) is followed by a new list', async () => {
    const { server, rig } = shop;
    server.faults.goneWatches = 2;
    await rig.open();
    await rig.shows(both);
    await until(() => server.watching === 2);
    expect(server.lists('services').length + server.lists('endpointslices').length).toBe(4);
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('that expires in its stream (ERROR 410) is followed by a new list', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const listed = server.lists('endpointslices').length;
    server.expireWatches();
    await until(() => server.lists('endpointslices').length > listed && server.watching === 2);
    // What was listed as it was known is not made into routes again.
    expect(rig.opened[0]?.status().applying.count).toBe(1);
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('that ends goes on from where it was, without a list', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const listed = server.lists('endpointslices').length;
    server.endWatches();
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
    expect(server.lists('endpointslices')).toHaveLength(listed);
  });

  it('that ends in half a line loses nothing of what the line would have said', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    server.say('{"type":"MODIFIED","object":{"kind":"EndpointSl');
    server.endWatches();
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('with a line that is no JSON is followed by a new list', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const listed = server.lists('endpointslices').length;
    // The next bookmark completes the line.
    server.say('{"type":"MODIFIED","object":{"kind":"EndpointSl');
    await until(() => server.lists('endpointslices').length > listed);
    expect(rig.log.join('\n')).toContain('a line of the watch is no JSON');
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('that says everything twice changes the routes once', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    server.faults.duplicates = true;
    const before = rig.served.length;
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
    await sleep(100);
    expect(rig.served).toHaveLength(before + 1);
  });

  it('without bookmarks is as good while the cluster changes', async () => {
    const { server, rig } = shop;
    server.faults.noBookmarks = true;
    await openAndWatch();
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
    // And while it does not, silence is taken for deafness: the routes stay.
    const before = rig.served.length;
    await sleep(3 * quickly.silenceMs);
    expect(rig.served).toHaveLength(before);
    shop.scale('10.0.0.4');
    await rig.shows(`${cart} 10.0.0.4:8080`);
  });
});

describe('a slice', () => {
  it('that was deleted while nobody watched is gone afterwards, by the events', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    await server.stop();
    server.delete('endpointslices', 'shop', 'cart-1');
    await server.listen();
    await rig.shows(cart + ' ');
  });

  it('that was deleted while nobody watched is gone afterwards, by the list', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    await server.stop();
    server.delete('endpointslices', 'shop', 'cart-1');
    server.compact();
    await server.listen();
    await rig.shows(cart + ' ');
  });

  it('that comes again under another uid outlives the news of its end', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const [old] = server.of('endpointslices');
    const fresh = slice('shop/cart-1', 'cart', ['10.0.0.9'], {}, { uid: 'another' });
    server.apply('endpointslices', fresh);
    await rig.shows(`${cart} 10.0.0.9:8080`);
    server.say(`${JSON.stringify({ type: 'DELETED', object: old })}\n`);
    // Told after it in the same stream.
    server.apply('endpointslices', slice('shop/cart-2', 'cart', ['10.0.0.8']));
    await rig.shows(`${cart} 10.0.0.8:8080 10.0.0.9:8080`);
  });
});

describe('the API server', () => {
  it('that freezes is noticed, and heard again when it thaws', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const [cluster] = rig.opened;
    server.faults.frozen = true;
    shop.scale('10.0.0.3');
    await until(() => cluster?.status().watches.every(({ problem }) => problem !== null) === true);
    expect(rig.now).toEqual([both]);
    server.thaw();
    await rig.shows(`${cart} 10.0.0.3:8080`);
    await until(() => cluster?.status().watches.every(({ problem }) => problem === null) === true);
  });

  it('that tears every connection takes no route with it', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const before = rig.served.length;
    for (let i = 0; i < 5; i++) {
      server.cut();
      await sleep(30);
    }
    await until(() => server.watching === 2);
    expect(rig.served).toHaveLength(before);
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('that is away takes no route with it, and is found again after its restart', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const before = rig.served.length;
    await server.stop();
    shop.scale('10.0.0.3');
    await sleep(300);
    expect(rig.served).toHaveLength(before);
    await server.listen();
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('is heard again as soon as it lets a watch in, whether or not it has news', async () => {
    const { server, rig } = shop;
    server.faults.noBookmarks = true;
    await rig.open({ timing: { ...quickly, silenceMs: 60_000 } });
    await rig.shows(both);
    await until(() => server.watching === 2);
    const troubled = (some: 'every' | 'some') =>
      rig.opened[0]?.status().watches[some](({ problem }) => problem !== null);
    await server.stop();
    await until(() => troubled('every') === true);
    await server.listen();
    await until(() => troubled('some') === false);
  });

  it.each([429, 500, 503])('that answers %i keeps the last good state in force', async (status) => {
    await openAndWatch();
    const { server, rig } = shop;
    server.faults.status = status;
    server.endWatches();
    shop.scale('10.0.0.3');
    const told = new RegExp(`the test says ${status}.*The last good state stays in force`);
    await until(() => rig.log.some((line) => told.test(line)));
    expect(rig.now).toEqual([both]);
    server.faults.status = undefined;
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('that says when it wants to be asked again is not asked before', async () => {
    const { server, rig } = shop;
    Object.assign(server.faults, { status: 429, retryAfter: 2 });
    await rig.open();
    await until(() => server.lists('services').length > 0);
    // Ten times as long as the agent would wait by itself.
    await sleep(10 * quickly.backoffMs[1]);
    expect(server.lists('services')).toHaveLength(1);
    server.faults.status = undefined;
    await rig.shows(both);
  });

  it('restored from a backup, whose versions are older, is believed', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    await server.stop();
    server.restore(50);
    shop.scale('10.0.0.3');
    await server.listen();
    await rig.shows(`${cart} 10.0.0.3:8080`);
    shop.scale('10.0.0.4');
    await rig.shows(`${cart} 10.0.0.4:8080`);
  });

  it('restored from a backup is believed although a version says something else now', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    const [known] = server.of('endpointslices');
    const version = Number(known?.metadata.resourceVersion);
    for (let i = 0; i < 5; i++) server.apply('nodes', node('node-b', '127.96.7.2'));
    // A bookmark has told how far the server was.
    await sleep(100);
    await server.stop();
    server.restore(version - 1);
    shop.scale('10.0.0.3');
    expect(server.of('endpointslices')[0]?.metadata.resourceVersion).toBe(String(version));
    await server.listen();
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });
});

describe('an agent that stops', () => {
  it('while it watches leaves no connection', async () => {
    await openAndWatch();
    const { server, rig } = shop;
    expect(server.connections).toBeGreaterThan(0);
    await rig.opened[0]?.close();
    await until(() => server.connections === 0 && server.watching === 0);
  });

  it('in the middle of a list begins no watch, and leaves no connection', async () => {
    const { server, rig } = shop;
    server.faults.frozen = true;
    const cluster = await rig.open();
    await until(() => server.lists('services').length > 0);
    await cluster.close();
    server.thaw();
    await until(() => server.connections === 0);
    await sleep(100);
    expect(server.watches('services')).toEqual([]);
    expect(cluster.status().watches.map(({ state }) => state)).toEqual(['stopped', 'stopped']);
  });
});
