// Who may ask, what an owner may fix, and where the agent dials: rights that are missing are
// named and waited for, an annotation that is wrong is told once, and the way to the API
// server does not depend on one address.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { goodToken } from './api-server.js';
import { service, slice } from './objects.js';
import { until } from './rig.js';
import { both, cart, Shop } from './shop.js';
import { Way } from './way.js';

let shop: Shop;

beforeEach(async () => {
  shop = await Shop.open();
});

afterEach(async () => {
  vi.useRealTimers();
  await shop.close();
});

function logged(words: string): Promise<void> {
  return until(() => shop.rig.log.some((line) => line.includes(words)));
}

describe('a right that is missing', () => {
  it.each(['services', 'endpointslices'])('to list %s is named, and waited for', async (what) => {
    const { server, rig } = shop;
    server.rights.get(goodToken)?.delete(`list ${what}`);
    await rig.open();
    await logged(`${what}: ${what} is forbidden: cannot list`);
    expect(rig.served).toEqual([]);
    server.rights.get(goodToken)?.add(`list ${what}`);
    await rig.shows(both);
    await logged(`${what}: the API server is heard again`);
  });

  it('to watch is named; what was listed is served, and followed when it may be', async () => {
    const { server, rig } = shop;
    server.rights.get(goodToken)?.delete('watch endpointslices');
    await rig.open();
    await rig.shows(both);
    await logged('endpointslices: endpointslices is forbidden: cannot watch');
    shop.scale('10.0.0.3');
    await sleep(100);
    expect(rig.now).toEqual([both]);
    server.rights.get(goodToken)?.add('watch endpointslices');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('to get the node costs the zone hints, and no route', async () => {
    const { server, rig } = shop;
    server.rights.get(goodToken)?.delete('get nodes');
    await rig.open();
    await rig.shows(both);
    expect(rig.log.join('\n')).toContain('the API server says nothing of the node node-a');
  });

  it('to write Events is told once', async () => {
    const { server, rig } = shop;
    server.rights.get(goodToken)?.delete('create events');
    await rig.open();
    for (const [i, slots] of ['many', 'more'].entries()) {
      const annotations = { 'nity.dev/slots': slots };
      server.apply('services', service('shop/cart', '127.96.0.10', {}, { annotations }));
      await until(() => rig.opened[0]?.status().events.dropped === i + 1);
    }
    expect(rig.log.filter((line) => line.includes('events is forbidden'))).toHaveLength(1);
  });
});

describe('a token', () => {
  it('that is not known is told as such, and is waited for', async () => {
    const { server, rig } = shop;
    server.writeKubeconfig(rig.kubeconfig, 'another');
    await rig.open();
    await logged('services: the API server does not know who asks (401 Unauthorized)');
    expect(rig.served).toEqual([]);
    server.rights.set('another', new Set(server.rights.get(goodToken)));
    await rig.shows(both);
  });

  it('that is revoked takes no route with it', async () => {
    const { server, rig } = shop;
    await rig.open();
    await rig.shows(both);
    const rights = server.rights.get(goodToken) ?? new Set<string>();
    server.rights.delete(goodToken);
    server.endWatches();
    await logged('services: the API server does not know who asks');
    expect(rig.now).toEqual([both]);
    server.rights.set(goodToken, rights);
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('that is rotated in its file, as a pod has it, is read again within a minute', async () => {
    const { server, rig } = shop;
    const tokenFile = join(rig.directory, 'token');
    writeFileSync(tokenFile, goodToken);
    const user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    const config = JSON.parse(readFileSync(rig.kubeconfig, 'utf8')) as object;
    writeFileSync(rig.kubeconfig, JSON.stringify({ ...config, users: [{ name: 'agent', user }] }));
    await rig.open();
    await rig.shows(both);

    writeFileSync(tokenFile, 'fresh');
    server.rights.set('fresh', new Set(server.rights.get(goodToken)));
    server.rights.delete(goodToken);
    server.endWatches();
    await logged('services: the API server does not know who asks');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });
});

describe('an annotation that is wrong', () => {
  const annotate = (annotations: Readonly<Record<string, string>>) =>
    shop.server.apply('services', service('shop/cart', '127.96.0.10', {}, { annotations }));

  it('is ignored; the others hold, and the routes stay', async () => {
    const { rig } = shop;
    annotate({ 'nity.dev/slots': '100', 'nity.dev/gear': 'single' });
    await rig.open();
    await rig.shows(both);
    expect(rig.served.at(-1)?.[0]).toMatchObject({ gear: 'single' });
    expect(rig.served.at(-1)?.[0]?.slots).toBeUndefined();
  });

  it('is told by one Event, however often it is seen', async () => {
    const { server, rig } = shop;
    annotate({ 'nity.dev/slots': '100' });
    await rig.open();
    await until(() => server.of('events').length > 0);
    annotate({ 'nity.dev/slots': '100' });
    server.expireWatches();
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
    await sleep(100);
    expect(server.asked.filter(({ method }) => method === 'POST')).toHaveLength(1);
    expect(server.of('events')).toMatchObject([
      {
        involvedObject: { kind: 'Service', namespace: 'shop', name: 'cart', uid: 'uid-2' },
        reason: 'NityAnnotationIgnored',
        type: 'Warning',
        message:
          'nity.dev/slots: expected a power of two from 64 to 65536, not "100"; it is ignored.',
      },
    ]);
  });

  it('leaves in force what it said when it was last right', async () => {
    const { rig } = shop;
    annotate({ 'nity.dev/slots': '256' });
    await rig.open();
    await until(() => rig.served.at(-1)?.[0]?.slots === 256);
    annotate({ 'nity.dev/slots': '25 6', 'nity.dev/gear': 'single' });
    await until(() => rig.served.at(-1)?.[0]?.gear === 'single');
    expect(rig.served.at(-1)?.[0]?.slots).toBe(256);
    annotate({});
    await until(() => rig.served.at(-1)?.[0]?.gear === 'auto');
    expect(rig.served.at(-1)?.[0]?.slots).toBeUndefined();
  });
});

describe('an annotation of what is enforced', () => {
  const annotate = (enforce: string) =>
    shop.server.apply(
      'services',
      service('shop/cart', '127.96.0.10', {}, { annotations: { 'nity.dev/enforce': enforce } }),
    );
  const enforced = (percent: number) =>
    until(() => shop.rig.served.at(-1)?.[0]?.enforcePercent === percent);

  it('is followed, and a wrong one leaves the last good one in force and is told by an Event', async () => {
    const { server, rig } = shop;
    annotate('observe');
    await rig.open();
    await enforced(0);
    annotate('obsrve');
    await until(() => server.of('events').length > 0);
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
    expect(rig.served.at(-1)?.[0]?.enforcePercent).toBe(0);
    expect(server.of('events')).toMatchObject([
      {
        reason: 'NityAnnotationIgnored',
        message:
          'nity.dev/enforce: expected full, observe or a percentage such as 25%, not "obsrve"; it is ignored.',
      },
    ]);
    annotate('25%');
    await enforced(25);
  });
});

function remembered(): boolean {
  const file = join(shop.rig.directory, 'api.json');
  return existsSync(file) && readFileSync(file, 'utf8').includes(String(shop.server.port));
}

describe('the way to the API server', () => {
  let way: Way;

  beforeEach(async () => {
    const { server, rig } = shop;
    const direct = join(rig.directory, 'direct');
    server.writeKubeconfig(direct);
    way = await Way.open(direct, rig.kubeconfig);
    const ports = [{ name: 'https', protocol: 'TCP', port: server.port }];
    server.apply(
      'endpointslices',
      slice('default/kubernetes', 'kubernetes', ['127.0.0.1'], { ports }),
    );
  });

  it('that was configured may be shut: the endpoints it named are dialled', async () => {
    const { rig } = shop;
    await rig.open();
    await rig.shows(both);
    await until(remembered);
    await way.shut();
    shop.scale('10.0.0.3');
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('is remembered, so that an agent can start while the configured one is shut', async () => {
    const { rig } = shop;
    const first = await rig.open();
    await rig.shows(both);
    await until(remembered);
    await first.close();
    await way.shut();
    rig.served.length = 0;
    rig.opened.length = 0;
    shop.scale('10.0.0.3');
    await rig.open();
    await rig.shows(`${cart} 10.0.0.3:8080`);
  });

  it('is never served by Nity itself', async () => {
    const { server, rig } = shop;
    const ports = [
      { name: 'http', protocol: 'TCP', port: way.at },
      { name: 'way', protocol: 'TCP', port: server.port },
    ];
    server.apply('services', service('shop/loop', '127.0.0.1', { ports }));
    const cluster = await rig.open();
    await rig.shows(both);
    await until(() => cluster.status().skipped.length === 2);
    expect(cluster.status().skipped.map(({ address, reason }) => [address, reason])).toEqual([
      [`127.0.0.1:${way.at}`, 'agentApi'],
      [`127.0.0.1:${server.port}`, 'agentApi'],
    ]);
  });
});
