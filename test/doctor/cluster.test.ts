// The cluster as the doctor finds it from a node: asked over HTTP, judged by the rules.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Finding, Rule } from '../../src/lib/doctor/check.js';
import { askKubeProxy, probeCluster } from '../../src/lib/doctor/cluster.js';
import type { Observed } from '../../src/lib/doctor/observed.js';
import { clusterRules } from '../../src/lib/doctor/rules/cluster.js';
import { InputError } from '../../src/lib/errors.js';
import { openApi } from '../../src/lib/kubernetes/ask.js';
import type { ClusterStatus } from '../../src/lib/kubernetes/status.js';
import { ApiStub } from './api.js';
import { healthyFollowing, healthyPlane } from './healthy.js';

let stub: ApiStub;

beforeEach(async () => {
  stub = new ApiStub();
  await stub.listen();
});

afterEach(() => {
  stub.close();
});

type Parts = Pick<Observed, 'cluster' | 'kubeProxyMode'>;

async function probe(): Promise<Parts> {
  const api = await openApi({ kubeconfig: stub.kubeconfig });
  if (api === null) throw new Error('the kubeconfig names a cluster');
  return { cluster: await probeCluster(api), kubeProxyMode: await askKubeProxy(stub.url) };
}

/** The rules ask for nothing but the cluster, as it is found and as the agent follows it. */
function look(
  { cluster, kubeProxyMode }: Parts,
  following: Partial<ClusterStatus> | null = {},
): Map<string, Finding | null> {
  const status = following === null ? null : { ...healthyFollowing, ...following };
  const agent = { ...healthyPlane.agent, cluster: status };
  const observed = {
    cluster,
    kubeProxyMode,
    plane: { kind: 'read', value: { ...healthyPlane, agent } },
  } as unknown as Observed;
  return new Map(clusterRules.map((rule: Rule) => [rule.id, rule.look(observed)]));
}

const named = (namespace: string, name: string, ports: readonly object[]) => ({
  metadata: { namespace, name },
  spec: { ports },
});
const slice = (namespace: string, service: string, ports: readonly object[]) => ({
  metadata: {
    namespace,
    name: `${service}-abcde`,
    labels: { 'kubernetes.io/service-name': service },
  },
  ports,
});

describe('the doctor asks the cluster', () => {
  it('and finds nothing wrong with a healthy one, as whom the kubeconfig names', async () => {
    stub.services = [named('shop', 'cart', [{ name: 'http', port: 80 }])];
    stub.slices = [slice('shop', 'cart', [{ name: 'http', port: 8080, protocol: 'TCP' }])];
    const found = look(await probe());
    expect([...found.values()].map((finding) => finding?.status)).toEqual(Array(7).fill('ok'));
    expect(found.get('NITY100')?.seen).toMatch(/^http:\/\/127.0.0.1:\d+, v1.36.1, in \d+ ms$/);
    expect(found.get('NITY105')?.seen).toBe('mode nftables');
    expect(found.get('NITY106')?.seen).toBe('3 Services at https://192.0.2.1:6443');
    const toApi = stub.asked.filter(({ path }) => path !== '/proxyMode');
    expect(new Set(toApi.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer secret']),
    );
  });

  it('which may not be there: the first check says so, and no other repeats it', async () => {
    const api = await openApi({ kubeconfig: stub.kubeconfig });
    stub.close();
    if (api === null) throw new Error('the kubeconfig names a cluster');
    const kubeProxyMode = await askKubeProxy(stub.url);
    const found = look({ cluster: await probeCluster(api), kubeProxyMode });
    expect(found.get('NITY100')).toMatchObject({ status: 'fail' });
    expect(found.get('NITY100')?.seen).toContain('ECONNREFUSED');
    for (const id of ['NITY101', 'NITY102', 'NITY103']) expect(found.get(id)).toBeNull();
    expect(found.get('NITY105')).toEqual({ status: 'warn', seen: 'nobody answers' });
  });

  it.each([
    ['list services', 'fail', 'it may not list services'],
    ['watch endpointslices', 'fail', 'it may not watch endpointslices'],
    ['get nodes', 'warn', 'it may not get nodes'],
    ['create events', 'warn', 'it may not create events'],
  ])('about its permissions: without %s it is %s', async (denied, status, seen) => {
    stub.denied = [denied];
    expect(look(await probe()).get('NITY101')).toEqual({ status, seen });
  });

  it('changes nothing: it only reads and asks what it may', async () => {
    await probe();
    expect([...new Set(stub.asked.map(({ path }) => path))].sort()).toEqual([
      '/api/v1/services',
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      '/apis/discovery.k8s.io/v1/endpointslices',
      '/proxyMode',
      '/version',
    ]);
  });

  it('and asks for no more than a page of a large one', async () => {
    await probe();
    const listed = stub.asked.filter(({ path }) => /(services|endpointslices)$/.test(path));
    expect(listed.map(({ query }) => query)).toEqual(['limit=500', 'limit=500']);
  });

  it.each([
    [0, 'ok', /^within a second$/],
    [20_000, 'warn', /^(19|20)\.\d s ahead$/],
    [-20_000, 'warn', /^(19|20)\.\d s behind$/],
    [120_000, 'fail', /^(119|120)\.\d s ahead$/],
  ])('its clock: %d ms ahead is %s', async (aheadMs, status, seen) => {
    stub.aheadMs = aheadMs;
    const finding = look(await probe()).get('NITY102');
    expect(finding?.status).toBe(status);
    expect(finding?.seen).toMatch(seen);
  });

  it('about ports that no slice has by their name', async () => {
    stub.services = [
      named('shop', 'cart', [
        { name: 'http', port: 80 },
        { name: 'admin', port: 81 },
      ]),
      named('shop', 'pay', [{ port: 80, protocol: 'TCP' }]),
      named('shop', 'empty', [{ name: 'http', port: 80 }]),
      named('shop', 'dns', [{ name: 'dns', port: 53, protocol: 'UDP' }]),
    ];
    stub.slices = [
      slice('shop', 'cart', [{ name: 'http' }, { name: null, port: 81 }]),
      slice('shop', 'pay', [{ name: '', protocol: 'TCP' }]),
      slice('shop', 'empty', []),
      slice('shop', 'dns', [{ name: 'dns', protocol: 'TCP' }]),
    ];
    expect(look(await probe()).get('NITY103')).toEqual({
      status: 'warn',
      seen: 'shop/cart:admin, shop/dns:dns',
    });
  });

  it('about the ports of a part of a large one: of no Service whose slices it saw in part', async () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'admin', port: 81 },
    ];
    stub.services = ['cart', 'pay', 'pay-api'].map((name) => named('shop', name, ports));
    stub.slices = [
      slice('shop', 'cart', [{ name: 'http' }]),
      // Of pay-api, and of pay as well, whose name its own begins with, others come after.
      slice('shop', 'pay', [{ name: 'http' }]),
      slice('shop', 'pay-api', [{ name: 'http' }]),
    ];
    stub.isMore = true;
    const seen = (text: string) => `${text}, of the first 500 Services and slices`;
    const found = async () => look(await probe()).get('NITY103');
    expect(await found()).toEqual({ status: 'warn', seen: seen('shop/cart:admin') });
    stub.services.shift();
    expect(await found()).toEqual({ status: 'ok', seen: seen('all found') });
  });

  it('which may not know who asks: that is told, and nothing else', async () => {
    stub.knowsWhoAsks = false;
    const found = look(await probe());
    expect(found.get('NITY100')).toMatchObject({ status: 'fail' });
    expect(found.get('NITY100')?.seen).toContain(
      'the API server does not know who asks (401 Unauthorized)',
    );
    for (const id of ['NITY101', 'NITY103']) expect(found.get(id)).toBeNull();
  });

  it('which may not answer what the token may do: that is told too', async () => {
    stub.reviews = false;
    expect(look(await probe()).get('NITY101')).toEqual({
      status: 'warn',
      seen: 'it answers 404 to a SelfSubjectAccessReview',
    });
  });
});

describe('the doctor asks the agent', () => {
  const here: Parts = { cluster: null, kubeProxyMode: 'nftables' };
  const [services, slices] = healthyFollowing.watches;
  if (services === undefined || slices === undefined) throw new Error('there are two watches');

  it('who serves what it skips', () => {
    const skipped = [
      { service: 'kube/dns', port: 'dns', address: null, reason: 'protocol', detail: 'UDP' },
    ] as const;
    expect(look(here, { skipped }).get('NITY104')).toEqual({
      status: 'ok',
      seen: '1 port: kube/dns:dns (protocol: UDP)',
    });
    expect(look({ ...here, kubeProxyMode: null }, { skipped }).get('NITY104')).toEqual({
      status: 'warn',
      seen: '1 port: kube/dns:dns (protocol: UDP), and no kube-proxy answers',
    });
  });

  it('whether it hears the API server, whoever else does', () => {
    const problem = 'connect ECONNREFUSED 192.0.2.1:6443';
    const cut = { ...slices, state: 'waiting', heardAgoMs: 65_000, problem } as const;
    expect(look(here, { watches: [services, cut] }).get('NITY106')).toEqual({
      status: 'fail',
      seen: `endpointslices: ${problem} (heard 65.0 s ago)`,
    });
    const never = { ...services, state: 'waiting', synced: false, heardAgoMs: null } as const;
    const refused = { ...never, problem: 'services is forbidden' };
    expect(look(here, { synced: false, watches: [refused, slices] }).get('NITY106')).toEqual({
      status: 'fail',
      seen: 'services: services is forbidden (never heard)',
    });
  });

  it('whether what it heard is served', () => {
    expect(look(here, { synced: false }).get('NITY106')?.status).toBe('fail');
    expect(look(here, { oldestUnappliedMs: 9_000 }).get('NITY106')?.status).toBe('ok');
    expect(look(here, { oldestUnappliedMs: 12_300 }).get('NITY106')).toMatchObject({
      status: 'warn',
      seen: 'a change waits for 12.3 s',
    });
  });

  it('and nothing of a cluster where it follows none', () => {
    const found = look({ cluster: null, kubeProxyMode: null }, null);
    expect([...found.values()]).toEqual(Array(7).fill(null));
  });

  it('about kube-proxy, which another program may only look like', async () => {
    expect(await askKubeProxy(stub.url)).toBe('nftables');
    stub.proxyMode = '<html>';
    expect(await askKubeProxy(stub.url)).toBeNull();
    expect(look({ ...here, kubeProxyMode: null }).get('NITY105')).toEqual({
      status: 'warn',
      seen: 'nobody answers',
    });
  });
});

describe('the way into the cluster', () => {
  it('is an error of input when its file cannot be read or its context is not there', async () => {
    await expect(openApi({ kubeconfig: '/nowhere' })).rejects.toThrow(InputError);
    await expect(openApi({ kubeconfig: stub.kubeconfig, context: 'there' })).rejects.toThrow(
      /cannot be read/,
    );
  });

  it('is not looked for where none is named', async () => {
    const { KUBECONFIG: before } = process.env;
    delete process.env['KUBECONFIG'];
    try {
      expect(await openApi({})).toBeNull();
    } finally {
      if (before !== undefined) process.env['KUBECONFIG'] = before;
    }
  });
});
