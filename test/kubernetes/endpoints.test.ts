// Which endpoints a client is sent to: a row for each rule of kube-proxy, with the name of
// the function in which kube-proxy has it.
import { describe, expect, it } from 'vitest';

import {
  clusterEndpoints,
  endpointsOf,
  localEndpoints,
} from '../../src/lib/kubernetes/endpoints.js';
import { readSlice, type NodeObject } from '../../src/lib/kubernetes/objects.js';
import { slice, type EndpointSpec } from './objects.js';

const nodeA: NodeObject = { name: 'node-a', zone: 'zone-1', addresses: [] };
const http = { name: 'http', protocol: 'TCP', port: 80, nodePort: 0 };

type Slices = readonly ReturnType<typeof slice>[];

const of = (...endpoints: (string | EndpointSpec)[]): Slices => [
  slice('shop/cart-1', 'cart', endpoints),
];

function chosen(slices: Slices, policy: 'Cluster' | 'Local', node = nodeA): string[] {
  const read = slices.flatMap((object) => readSlice(object) ?? []);
  const choose = policy === 'Cluster' ? clusterEndpoints : localEndpoints;
  return choose(endpointsOf(read, http), node).map(({ address, port }) => `${address}:${port}`);
}

const at = (address: string, rest: Omit<EndpointSpec, 'addresses'> = {}): EndpointSpec => ({
  addresses: [address],
  ...rest,
});
const terminating = { ready: false, serving: true, terminating: true };
const gone = { ready: false, serving: false, terminating: true };
const zone = (...names: string[]) => ({ hints: { forZones: names.map((name) => ({ name })) } });
const forNode = (...names: string[]) => ({ hints: { forNodes: names.map((name) => ({ name })) } });

interface Row {
  readonly rule: string;
  readonly says: string;
  readonly slices: Slices;
  readonly cluster: readonly string[];
  readonly local?: readonly string[];
}

const rows: readonly Row[] = [
  {
    rule: 'endpointslicecache.go newEndpointInfo',
    says: 'an endpoint without conditions is ready',
    slices: of(at('10.0.0.1')),
    cluster: ['10.0.0.1:8080'],
    local: [],
  },
  {
    rule: 'endpointslicecache.go addEndpoints',
    says: 'only the first of an endpoint’s addresses counts',
    slices: of({ addresses: ['10.0.0.1', '10.0.0.9'] }),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'endpointslicecache.go addEndpoints',
    says: 'an endpoint without an address is passed over',
    slices: of({ addresses: [] }, '10.0.0.2'),
    cluster: ['10.0.0.2:8080'],
  },
  {
    rule: 'endpointslicecache.go addEndpoints',
    says: 'all slices are one set, each with the number its own port has',
    slices: [
      slice('shop/cart-1', 'cart', ['10.0.0.1']),
      slice('shop/cart-2', 'cart', ['10.0.0.2'], {
        ports: [{ name: 'http', protocol: 'TCP', port: 9090 }],
      }),
    ],
    cluster: ['10.0.0.1:8080', '10.0.0.2:9090'],
  },
  {
    rule: 'endpointslicecache.go endpointInfoByServicePort',
    says: 'a port is matched by its name',
    slices: [
      slice('shop/cart-1', 'cart', ['10.0.0.1'], {
        ports: [
          { name: 'admin', protocol: 'TCP', port: 7070 },
          { name: 'http', protocol: 'TCP', port: 8081 },
        ],
      }),
    ],
    cluster: ['10.0.0.1:8081'],
  },
  {
    rule: 'endpointslicecache.go endpointInfoByServicePort',
    says: 'a port is matched by its protocol',
    slices: [
      slice('shop/cart-1', 'cart', ['10.0.0.1'], {
        ports: [{ name: 'http', protocol: 'UDP', port: 8080 }],
      }),
    ],
    cluster: [],
  },
  {
    rule: 'endpointslicecache.go endpointInfoByServicePort',
    says: 'a port without a number, or with 0, is passed over',
    slices: [
      slice('shop/cart-1', 'cart', ['10.0.0.1'], { ports: [{ name: 'http', protocol: 'TCP' }] }),
      slice('shop/cart-2', 'cart', ['10.0.0.2'], {
        ports: [{ name: 'http', protocol: 'TCP', port: 0 }],
      }),
    ],
    cluster: [],
  },
  {
    rule: 'endpointslicecache.go addEndpoints',
    says: 'an address that two slices name is one endpoint, and the one that is not terminating wins',
    slices: [
      slice('shop/cart-1', 'cart', [at('10.0.0.1', { conditions: terminating })]),
      slice('shop/cart-2', 'cart', ['10.0.0.1']),
    ],
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'endpointslicecache.go addEndpoints',
    says: 'the same in the other order',
    slices: [
      slice('shop/cart-1', 'cart', ['10.0.0.1']),
      slice('shop/cart-2', 'cart', [at('10.0.0.1', { conditions: gone })]),
    ],
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'types.go EndpointSlice.addressType',
    says: 'slices of another family are another proxy’s',
    slices: [
      slice('shop/cart-1', 'cart', ['10.0.0.1']),
      slice('shop/cart-2', 'cart', ['fd00::1'], { addressType: 'IPv6' }),
    ],
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'one that terminates is not asked while another is ready',
    slices: of('10.0.0.1', at('10.0.0.2', { conditions: terminating })),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'without a ready one, those that terminate and still serve are asked',
    slices: of(
      at('10.0.0.1', { conditions: gone }),
      at('10.0.0.2', { conditions: terminating }),
      at('10.0.0.3', { conditions: { ready: false, serving: true, terminating: false } }),
    ),
    cluster: ['10.0.0.2:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'an endpoint that terminates and does not say whether it serves, serves',
    slices: of(at('10.0.0.1', { conditions: { ready: false, terminating: true } })),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'policy Local has the node’s own, and nobody else’s',
    slices: of(at('10.0.0.1', { nodeName: 'node-a' }), at('10.0.0.2', { nodeName: 'node-b' })),
    cluster: ['10.0.0.1:8080', '10.0.0.2:8080'],
    local: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'policy Local without own endpoints has none at all',
    slices: of(at('10.0.0.2', { nodeName: 'node-b' })),
    cluster: ['10.0.0.2:8080'],
    local: [],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'policy Local falls back to own terminating ones, although others are ready elsewhere',
    slices: of(
      at('10.0.0.1', { nodeName: 'node-a', conditions: terminating }),
      at('10.0.0.2', { nodeName: 'node-b' }),
    ),
    cluster: ['10.0.0.2:8080'],
    local: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'hints of zones are heard if each ready endpoint has one and one is ours',
    slices: of(at('10.0.0.1', zone('zone-1')), at('10.0.0.2', zone('zone-2'))),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'a single ready endpoint without a hint makes all of them count for nothing',
    slices: of(at('10.0.0.1', zone('zone-1')), at('10.0.0.2')),
    cluster: ['10.0.0.1:8080', '10.0.0.2:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'one without a hint that is not ready does not',
    slices: of(
      at('10.0.0.1', zone('zone-1')),
      at('10.0.0.2', { conditions: { ready: false } }),
      at('10.0.0.3', zone('zone-2')),
    ),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'hints for other zones alone count for nothing',
    slices: of(at('10.0.0.1', zone('zone-2')), at('10.0.0.2', zone('zone-3'))),
    cluster: ['10.0.0.1:8080', '10.0.0.2:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'hints of nodes come before those of zones',
    slices: of(
      at('10.0.0.1', { hints: { ...zone('zone-1').hints, ...forNode('node-b').hints } }),
      at('10.0.0.2', { hints: { ...zone('zone-1').hints, ...forNode('node-a').hints } }),
    ),
    cluster: ['10.0.0.2:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'hints of other nodes alone leave it to those of zones',
    slices: of(
      at('10.0.0.1', { hints: { ...zone('zone-1').hints, ...forNode('node-b').hints } }),
      at('10.0.0.2', { hints: { ...zone('zone-2').hints, ...forNode('node-c').hints } }),
    ),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'a single ready endpoint without a hint of a node leaves it to those of zones',
    slices: of(
      at('10.0.0.1', { hints: { ...zone('zone-2').hints, ...forNode('node-a').hints } }),
      at('10.0.0.2', zone('zone-1')),
    ),
    cluster: ['10.0.0.2:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'hints of endpoints that are not ready choose nothing',
    slices: of(
      at('10.0.0.1', { ...zone('zone-1'), conditions: terminating }),
      at('10.0.0.2', zone('zone-2')),
    ),
    cluster: ['10.0.0.2:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'without a ready one hints count for nothing',
    slices: of(
      at('10.0.0.1', { ...zone('zone-2'), conditions: terminating }),
      at('10.0.0.2', { ...zone('zone-1'), conditions: terminating }),
    ),
    cluster: ['10.0.0.1:8080', '10.0.0.2:8080'],
  },
  {
    rule: 'topology.go CategorizeEndpoints',
    says: 'one that is ready while it terminates (publishNotReadyAddresses) is ready',
    slices: of(
      at('10.0.0.1', { conditions: { ready: true, serving: false, terminating: true } }),
      at('10.0.0.2', { conditions: terminating }),
    ),
    cluster: ['10.0.0.1:8080'],
  },
  {
    rule: 'topology.go topologyModeFromHints',
    says: 'hints do not concern policy Local',
    slices: of(
      at('10.0.0.1', { nodeName: 'node-a', ...zone('zone-2') }),
      at('10.0.0.2', { nodeName: 'node-b', ...zone('zone-1') }),
    ),
    cluster: ['10.0.0.2:8080'],
    local: ['10.0.0.1:8080'],
  },
];

describe('the endpoints of a Service, as kube-proxy has them', () => {
  it.each(rows)('$rule: $says', ({ slices, cluster, local }) => {
    expect(chosen(slices, 'Cluster')).toEqual(cluster);
    if (local !== undefined) expect(chosen(slices, 'Local')).toEqual(local);
  });

  it('are the same whatever order their slices come in', () => {
    const slices = [
      slice('shop/cart-1', 'cart', ['10.0.0.3', '10.0.0.1']),
      slice('shop/cart-2', 'cart', ['10.0.0.2']),
    ];
    expect(chosen([...slices].reverse(), 'Cluster')).toEqual(chosen(slices, 'Cluster'));
  });

  it('are all of them on a node that has no zone', () => {
    const slices = of(at('10.0.0.1', zone('zone-1')), at('10.0.0.2', zone('zone-2')));
    expect(chosen(slices, 'Cluster', { ...nodeA, zone: null })).toHaveLength(2);
  });
});
