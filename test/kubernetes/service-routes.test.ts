// One Service becomes routes, port by port, and says what it leaves for kube-proxy.
import { describe, expect, it } from 'vitest';

import { readAnnotations } from '../../src/lib/kubernetes/annotations.js';
import { Assembler, type Claimant } from '../../src/lib/kubernetes/assemble.js';
import { readService, readSlice, type NodeObject } from '../../src/lib/kubernetes/objects.js';
import { serviceRoutes, type ServiceRoutes } from '../../src/lib/kubernetes/service-routes.js';
import { mostBackends } from '../../src/lib/routes/route-set.js';
import type { KubeObject } from './api-server.js';
import { service, slice, type EndpointSpec, type ServiceSpec } from './objects.js';

const nodeA: NodeObject = { name: 'node-a', zone: null, addresses: ['127.96.7.1'] };
const vip = '127.96.0.10';
const twoNodes: readonly EndpointSpec[] = [
  { addresses: ['10.0.0.1'], nodeName: 'node-a' },
  { addresses: ['10.0.0.2'], nodeName: 'node-b' },
];

function madeOf(
  object: KubeObject,
  endpoints: readonly (string | EndpointSpec)[] = ['10.0.0.1'],
): ServiceRoutes {
  const read = readService(object);
  if (read === undefined) throw new Error('no Service');
  const slices = [readSlice(slice('shop/cart-1', 'cart', endpoints))].flatMap((s) => s ?? []);
  return serviceRoutes(read, slices, nodeA, readAnnotations(read.annotations).knobs);
}

const of = (spec: ServiceSpec, endpoints?: readonly (string | EndpointSpec)[]) =>
  madeOf(service('shop/cart', vip, spec), endpoints);

function words({ routes }: ServiceRoutes): string[] {
  return routes.map(
    ({ name, addresses, backends }) =>
      `${name} at ${addresses.map((a) => `${a.vip}:${a.port}`).join(',')} to ${backends.map((b) => b.address).join(',')}`,
  );
}

const left = ({ skipped }: ServiceRoutes) =>
  skipped.map(({ port, address, reason }) => `${port} ${address ?? 'whole'}: ${reason}`);

describe('the routes of a Service', () => {
  // serviceport.go newBaseServiceInfo: ClusterIP, ExternalIPs, LoadBalancerVIPs, NodePort.
  it('serve its cluster IP, external IPs, load balancer and NodePort as one', () => {
    const made = madeOf({
      ...service('shop/cart', vip, {
        type: 'LoadBalancer',
        externalIPs: ['127.96.8.1'],
        ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 }],
      }),
      status: { loadBalancer: { ingress: [{ ip: '127.96.9.1' }] } },
    });
    expect(words(made)).toEqual([
      'shop/cart:http at 127.96.0.10:80,127.96.8.1:80,127.96.9.1:80,127.96.7.1:30080 to 10.0.0.1',
    ]);
  });

  // servicechangetracker.go serviceToServiceMap: one for each port.
  it('are one for each port, named by its name or number', () => {
    const made = of({
      ports: [
        { name: 'http', protocol: 'TCP', port: 80 },
        { name: 'admin', protocol: 'TCP', port: 81 },
      ],
    });
    expect(made.routes.map(({ name }) => name)).toEqual(['shop/cart:http', 'shop/cart:admin']);
    const nameless = of({ ports: [{ protocol: 'TCP', port: 8443 }] });
    expect(nameless.routes.map(({ name }) => name)).toEqual(['shop/cart:8443']);
  });

  // iptables/proxier.go syncProxyRules: a Service without endpoints is rejected.
  it('keep a Service without endpoints, so that its connects are refused at once', () => {
    expect(words(of({}, []))).toEqual(['shop/cart:http at 127.96.0.10:80 to ']);
  });

  // util/utils.go ShouldSkipService.
  it.each([
    ['headless', { clusterIP: 'None', clusterIPs: ['None'] }],
    ['ExternalName', { type: 'ExternalName', clusterIP: '', clusterIPs: [] }],
  ])('are none of a %s Service, which nobody proxies', (_, spec) => {
    expect(of(spec)).toEqual({ routes: [], skipped: [] });
  });

  // serviceport.go UsesLocalEndpoints, UsesClusterEndpoints: outside addresses need the cluster’s.
  it('split where the internal policy is Local and outside addresses go everywhere', () => {
    const made = of({ internalTrafficPolicy: 'Local', externalIPs: ['127.96.8.1'] }, twoNodes);
    expect(words(made)).toEqual([
      'shop/cart:http at 127.96.0.10:80 to 10.0.0.1',
      'shop/cart:http@external at 127.96.8.1:80 to 10.0.0.1,10.0.0.2',
    ]);
  });

  // iptables/proxier.go syncProxyRules: what begins on the node takes the short way.
  it('let externalTrafficPolicy Local concern only what comes from outside', () => {
    const made = of(
      {
        type: 'NodePort',
        externalTrafficPolicy: 'Local',
        ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 }],
      },
      twoNodes,
    );
    expect(words(made)).toEqual([
      'shop/cart:http at 127.96.0.10:80,127.96.7.1:30080 to 10.0.0.1,10.0.0.2',
    ]);
  });

  // serviceport.go newBaseServiceInfo: stickyMaxAgeSeconds.
  it.each([
    [{ sessionAffinity: 'ClientIP' }, 10_800],
    [
      {
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } },
      },
      600,
    ],
  ])('keep a client where sessionAffinity says so: %o', (spec, timeoutSeconds) => {
    expect(of(spec).routes[0]?.affinity).toEqual({ kind: 'clientIP', timeoutSeconds });
  });

  it('say what is left for kube-proxy, and why', () => {
    const made = madeOf({
      ...service('shop/cart', vip, {
        type: 'LoadBalancer',
        clusterIPs: [vip, 'fd00::10'],
        loadBalancerSourceRanges: ['192.0.2.0/24'],
        ports: [
          { name: 'http', protocol: 'TCP', port: 80 },
          { name: 'dns', protocol: 'UDP', port: 53 },
        ],
      }),
      status: { loadBalancer: { ingress: [{ ip: '127.96.9.1' }] } },
    });
    expect(left(made)).toEqual([
      'http [fd00::10]:80: family',
      'http 127.96.9.1:80: sourceRanges',
      'dns whole: protocol',
    ]);
    expect(words(made)).toEqual(['shop/cart:http at 127.96.0.10:80 to 10.0.0.1']);
  });

  // util/utils.go IsVIPMode.
  it('leave an address of ipMode Proxy to the load balancer', () => {
    const made = madeOf({
      ...service('shop/cart', vip, { type: 'LoadBalancer' }),
      status: { loadBalancer: { ingress: [{ ip: '127.96.9.1', ipMode: 'Proxy' }] } },
    });
    expect(left(made)).toEqual(['http 127.96.9.1:80: ipMode']);
  });

  it('are left to kube-proxy with more endpoints than a route may have', () => {
    const endpoints = Array.from(
      { length: mostBackends + 1 },
      (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
    );
    const made = of({}, endpoints);
    expect(made.routes).toEqual([]);
    expect(made.skipped).toMatchObject([
      {
        address: `${vip}:80`,
        reason: 'backends',
        detail: `${mostBackends + 1} of ${mostBackends}`,
      },
    ]);
    expect(of({}, endpoints.slice(1)).routes[0]?.backends).toHaveLength(mostBackends);
  });

  it('never send a service address to itself', () => {
    const made = of({ ports: [{ name: 'http', protocol: 'TCP', port: 8080 }] }, [vip]);
    expect(made.routes).toEqual([]);
    expect(left(made)).toEqual([`http ${vip}:8080: itself`]);
  });
});

describe('annotations below nity.dev/', () => {
  const read = (annotations: Readonly<Record<string, string>>) =>
    readAnnotations(new Map(Object.entries(annotations)));

  it('fix mode, gear, slots, the latency reference and what is enforced of a Service’s routes', () => {
    const object = service(
      'shop/cart',
      vip,
      {},
      {
        annotations: {
          'nity.dev/mode': 'soft',
          'nity.dev/gear': 'single',
          'nity.dev/slots': '256',
          'nity.dev/latency-reference': '1.5s',
          'nity.dev/enforce': '25%',
        },
      },
    );
    expect(madeOf(object).routes[0]).toMatchObject({
      mode: 'soft',
      gear: 'single',
      slots: 256,
      latencyReferenceMs: 1500,
      enforcePercent: 25,
    });
  });

  it.each([
    [{ mode: 'open' }, /nity\.dev\/mode: expected auto, normal, soft or hard, not "open"/],
    [{ slots: '100' }, /nity\.dev\/slots: expected a power of two from 64 to 65536/],
    [{ slots: '1e3' }, /nity\.dev\/slots: expected a power of two/],
    [{ 'latency-reference': '20' }, /nity\.dev\/latency-reference: expected a time such as 20ms/],
    [{ 'latency-reference': '0ms' }, /of 0\.1ms to 60s, not "0ms"/],
    [{ 'latency-reference': '61s' }, /of 0\.1ms to 60s, not "61s"/],
    [{ enforce: 'no' }, /nity\.dev\/enforce: expected full, observe or a percentage.*, not "no"/],
    [{ mod: 'soft' }, /nity\.dev\/mod is not known.*Did you mean nity\.dev\/mode\?/],
  ])('that are wrong are told and ignored: %o', (annotations, words) => {
    const { knobs, wrong } = read({ ...annotations, gear: 'twin' });
    expect(wrong.map(({ why }) => why).join()).toMatch(words);
    expect(knobs).toEqual({ gear: 'twin' });
  });
});

describe('Services that want the same', () => {
  const room = { addresses: 4, routes: 2, backends: 3, slots: 4096, slotsOf: () => 64 };
  const claims = (...objects: KubeObject[]) =>
    new Map(
      objects.flatMap((object): [string, Claimant][] => {
        const read = readService(object);
        if (read === undefined) return [];
        return [[read.key, { key: read.key, createdMs: read.createdMs, made: madeOf(object) }]];
      }),
    );
  const born = (seconds: number) => ({
    creationTimestamp: new Date(1_700_000_000_000 + seconds * 1000).toISOString(),
  });

  it('leave an address to the older one', () => {
    const { routes, skipped } = new Assembler().assemble(
      claims(service('a/new', vip, {}, born(5)), service('z/old', vip, {}, born(1))),
      new Set(),
      room,
    );
    expect(routes.map(({ name }) => name)).toEqual(['z/old:http']);
    expect(skipped).toEqual([
      { service: 'a/new', port: 'http', address: `${vip}:80`, reason: 'taken', detail: 'z/old' },
    ]);
  });

  it('never get the address at which the agent reaches the API server', () => {
    const { routes, skipped } = new Assembler().assemble(
      claims(service('default/kubernetes', vip)),
      new Set([`${vip}:80`]),
      room,
    );
    expect(routes).toEqual([]);
    expect(skipped[0]?.reason).toBe('agentApi');
  });

  it('are served by age as long as there is room, and the rest is listed', () => {
    const { routes, skipped } = new Assembler().assemble(
      claims(...[1, 2, 3].map((n) => service(`shop/s${n}`, `127.96.0.${n}`, {}, born(n)))),
      new Set(),
      room,
    );
    expect(routes.map(({ name }) => name)).toEqual(['shop/s1:http', 'shop/s2:http']);
    expect(skipped.map(({ service: key, reason }) => `${key} ${reason}`)).toEqual(['shop/s3 room']);
  });
});
