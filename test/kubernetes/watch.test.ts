// Routes from an API server that behaves, and from one that does not.
import { afterEach, beforeEach, describe, it } from 'vitest';

import { ApiServer } from './api-server.js';
import { node, service, slice } from './objects.js';
import { Rig } from './rig.js';

let server: ApiServer;
let rig: Rig;

const cart = 'shop/cart:http 127.96.0.10:80 ->';

beforeEach(async () => {
  server = await ApiServer.start();
  rig = new Rig();
  server.writeKubeconfig(rig.kubeconfig);
  server.apply('nodes', node('node-a', '127.96.7.1'));
  server.apply('services', service('shop/cart', '127.96.0.10'));
  server.apply('endpointslices', slice('shop/cart-1', 'cart', ['10.0.0.1', '10.0.0.2']));
});

afterEach(async () => {
  await rig.close();
  await server.stop();
});

function scale(...addresses: string[]): void {
  server.apply('endpointslices', slice('shop/cart-1', 'cart', addresses));
}

describe('routes from a cluster', () => {
  it('are those of its Services and slices, and follow them', async () => {
    await rig.open();
    await rig.shows(`${cart} 10.0.0.1:8080 10.0.0.2:8080`);
    scale('10.0.0.1', '10.0.0.3');
    await rig.shows(`${cart} 10.0.0.1:8080 10.0.0.3:8080`);
    server.delete('services', 'shop', 'cart');
    await rig.shows();
  });
});
