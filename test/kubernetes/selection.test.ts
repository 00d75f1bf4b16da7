// Which Services a node serves: what is asked for is what is listed and watched, and a Service
// that enters or leaves the selection is served or left by itself.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { InputError } from '../../src/lib/errors.js';
import { selectionOf } from '../../src/lib/kubernetes/selection.js';
import { service, slice } from './objects.js';
import { until } from './rig.js';
import { both, cart, Shop } from './shop.js';

const otherProxy = 'service.kubernetes.io/service-proxy-name';
const headless = 'service.kubernetes.io/headless';
const ofCart = { 'kubernetes.io/service-name': 'cart' };

let shop: Shop;

beforeEach(async () => {
  shop = await Shop.open();
});

afterEach(async () => {
  await shop.close();
});

const label = (labels: Readonly<Record<string, string>>) =>
  shop.server.apply('services', service('shop/cart', '127.96.0.10', {}, { labels }));

/** Served and watched: whatever comes now comes by the watch. */
async function open(selection = selectionOf(undefined, undefined), watches = 2): Promise<void> {
  await shop.rig.open({ selection });
  await until(() => shop.server.watching === watches && shop.rig.served.length > 0);
}

// cmd/kube-proxy/app/server.go, Run(): the informers' label selectors.
describe('what kube-proxy does not look at', () => {
  it('is a Service that has a proxy of its own, from when it has it', async () => {
    label({ [otherProxy]: 'mesh' });
    await open();
    expect(shop.rig.now).toEqual([]);
    label({});
    await shop.rig.shows(both);
    label({ [otherProxy]: '' });
    await shop.rig.shows();
  });

  it.each([headless, otherProxy])('is a slice with the label %s', async (name) => {
    const { server, rig } = shop;
    const labels = { ...ofCart, [name]: '' };
    server.apply('endpointslices', slice('shop/cart-2', 'cart', ['10.0.0.3'], {}, { labels }));
    await open();
    await rig.shows(both);
    server.apply('endpointslices', slice('shop/cart-2', 'cart', ['10.0.0.3']));
    await rig.shows(`${both} 10.0.0.3:8080`);
  });

  it('is a slice that is nobody’s, whatever its name', async () => {
    const { server, rig } = shop;
    const labels = {};
    server.apply('endpointslices', slice('shop/cart-2', 'cart', ['10.0.0.3'], {}, { labels }));
    await open();
    await rig.shows(both);
  });

  it('is a slice of a Service of the same name in another namespace', async () => {
    const { server, rig } = shop;
    server.apply('endpointslices', slice('bank/cart-1', 'cart', ['10.0.0.3']));
    await open();
    await rig.shows(both);
    // And one whose label moves to another Service is that one's.
    const labels = { 'kubernetes.io/service-name': 'pay' };
    server.apply('endpointslices', slice('shop/cart-1', 'cart', ['10.0.0.1'], {}, { labels }));
    await rig.shows(`${cart} `);
  });
});

describe('a selection', () => {
  it('by label serves the Services that have it, from when they have it', async () => {
    const { rig } = shop;
    await open(selectionOf('nity.dev/serve=true', undefined));
    expect(rig.now).toEqual([]);
    label({ 'nity.dev/serve': 'true' });
    await rig.shows(both);
    label({ 'nity.dev/serve': 'true', [otherProxy]: 'mesh' });
    await rig.shows();
  });

  it('by namespaces asks for these and serves nothing of others', async () => {
    const { server, rig } = shop;
    server.apply('services', service('bank/pay', '127.96.0.11'));
    server.apply('services', service('home/tv', '127.96.0.12'));
    server.apply('endpointslices', slice('bank/pay-1', 'pay', ['10.0.0.5']));
    await open(selectionOf(undefined, 'shop, bank'), 4);
    const paid = 'bank/pay:http 127.96.0.11:80 -> 10.0.0.5:8080';
    await rig.shows(both, paid);
    expect(server.lists('services')).toEqual([]);
    // A new list of one namespace takes nothing of the other away.
    server.expireWatches();
    server.delete('endpointslices', 'shop', 'cart-1');
    await rig.shows(`${cart} `, paid);
  });

  it('is refused where its words are wrong, and says which', () => {
    expect(() => selectionOf(undefined, 'shop,Bank')).toThrow(InputError);
    expect(() => selectionOf(undefined, 'shop,Bank')).toThrow(/Bank is no name/);
    const many = Array.from({ length: 17 }, (_, i) => `n${i}`).join(',');
    expect(() => selectionOf(undefined, many)).toThrow(/names 17 namespaces/);
    expect(selectionOf(' a=b ', 'shop,shop')).toEqual({ selector: 'a=b', namespaces: ['shop'] });
  });
});
