// Services, slices and nodes as the tests' API server stores them.
import type { KubeObject } from './api-server.js';

export interface ServiceSpec {
  readonly [field: string]: unknown;
  readonly ports?: readonly Readonly<Record<string, unknown>>[];
}

export function service(
  key: string,
  clusterIP: string,
  spec: ServiceSpec = {},
  metadata: Partial<KubeObject['metadata']> = {},
): KubeObject {
  const [namespace = '', name = ''] = key.split('/');
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, ...metadata },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
      ...spec,
    },
  };
}

export interface EndpointSpec {
  readonly addresses?: readonly string[];
  readonly conditions?: Readonly<Record<string, boolean>>;
  readonly nodeName?: string;
  readonly hints?: Readonly<Record<string, readonly { readonly name: string }[]>>;
}

/** An address alone is a ready endpoint. */
export function slice(
  key: string,
  ofService: string,
  endpoints: readonly (string | EndpointSpec)[],
  fields: Readonly<Record<string, unknown>> = {},
  metadata: Partial<KubeObject['metadata']> = {},
): KubeObject {
  const [namespace = '', name = ''] = key.split('/');
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name,
      namespace,
      labels: { 'kubernetes.io/service-name': ofService },
      ...metadata,
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: endpoints.map((endpoint) =>
      typeof endpoint === 'string'
        ? { addresses: [endpoint], conditions: { ready: true, serving: true, terminating: false } }
        : endpoint,
    ),
    ...fields,
  };
}

export function node(name: string, address: string, zone?: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone },
    },
    status: { addresses: [{ type: 'InternalIP', address }] },
  };
}
