// The cluster as the doctor finds it from a node: asked over HTTP, judged by the rules.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Finding, Rule } from '../../src/lib/doctor/check.js';
import { probeCluster, type ClusterSeen, type SkippedPort } from '../../src/lib/doctor/cluster.js';
import type { Observed } from '../../src/lib/doctor/observed.js';
import { clusterRules } from '../../src/lib/doctor/rules/cluster.js';
import { InputError } from '../../src/lib/errors.js';
import { openApi } from '../../src/lib/kubernetes/ask.js';
import { ApiStub } from './api.js';

let stub: ApiStub;

beforeEach(async () => {
  stub = new ApiStub();
  await stub.listen();
});

afterEach(() => {
  stub.close();
});

async function probe(skipped: readonly SkippedPort[] = []): Promise<ClusterSeen> {
  const api = await openApi({ kubeconfig: stub.kubeconfig });
  if (api === null) throw new Error('the kubeconfig names a cluster');
  return probeCluster({ api, skipped: () => Promise.resolve(skipped), kubeProxy: stub.url });
}

/** The rules ask for nothing but the cluster. */
function look(cluster: ClusterSeen | null): Map<string, Finding | null> {
  const observed = { cluster } as unknown as Observed;
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
    expect([...found.values()].map((finding) => finding?.status)).toEqual(Array(6).fill('ok'));
    expect(found.get('NITY100')?.seen).toMatch(/^http:\/\/127.0.0.1:\d+, v1.36.1, in \d+ ms$/);
    expect(found.get('NITY105')?.seen).toBe('mode nftables');
    const toApi = stub.asked.filter(({ path }) => path !== '/proxyMode');
    expect(new Set(toApi.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer secret']),
    );
  });

  it('which may not be there: the first check says so, and no other repeats it', async () => {
    const api = await openApi({ kubeconfig: stub.kubeconfig });
    stub.close();
    if (api === null) throw new Error('the kubeconfig names a cluster');
    const found = look(
      await probeCluster({ api, skipped: () => Promise.resolve([]), kubeProxy: stub.url }),
    );
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

  it('who serves what Nity skips', async () => {
    const skipped = [{ service: 'kube/dns', port: 'dns', reason: 'protocol', detail: 'UDP' }];
    expect(look(await probe(skipped)).get('NITY104')).toEqual({
      status: 'ok',
      seen: '1 port: kube/dns:dns (protocol: UDP)',
    });
    // Some other program has the port.
    stub.proxyMode = '<html>';
    const found = look(await probe(skipped));
    expect(found.get('NITY104')).toEqual({
      status: 'warn',
      seen: '1 port: kube/dns:dns (protocol: UDP), and no kube-proxy answers',
    });
    expect(found.get('NITY105')).toEqual({ status: 'warn', seen: 'nobody answers' });
  });
});

describe('the way into the cluster', () => {
  it('is an error of input when its file cannot be read or its context is not there', async () => {
    await expect(openApi({ kubeconfig: '/nowhere' })).rejects.toThrow(InputError);
    await expect(openApi({ kubeconfig: stub.kubeconfig, context: 'there' })).rejects.toThrow(
      /cannot be read/,
    );
  });

  it('is not looked for where none is named, and the checks are left out', async () => {
    const { KUBECONFIG: before } = process.env;
    delete process.env['KUBECONFIG'];
    try {
      expect(await openApi({})).toBeNull();
    } finally {
      if (before !== undefined) process.env['KUBECONFIG'] = before;
    }
    expect([...look(null).values()]).toEqual(Array(6).fill(null));
  });
});
