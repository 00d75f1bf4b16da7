// One Service and its slices become its routes, and the list of what kube-proxy keeps of
// it. Pure, and of this Service alone: what Services share is settled in assemble.ts.
import { isIPv4 } from 'node:net';

import {
  endpointId,
  mostBackends,
  routeName,
  type Affinity,
  type Endpoint,
  type Route,
  type RouteKnobs,
  type VirtualAddress,
} from '../routes/route-set.js';
import { clusterEndpoints, endpointsOf, localEndpoints } from './endpoints.js';
import type { NodeObject, ServiceObject, ServicePort, SliceObject } from './objects.js';

/** Why an address of a Service is left for kube-proxy. */
export type SkipReason =
  /** UDP or SCTP. */
  | 'protocol'
  /** IPv6. */
  | 'family'
  /** loadBalancerSourceRanges: who asks is not known when a client connects. */
  | 'sourceRanges'
  /** ipMode Proxy: traffic is to pass through the load balancer. */
  | 'ipMode'
  /** More backends than a route may have. */
  | 'backends'
  /** The address is one of the route's own backends. */
  | 'itself'
  /** An older Service has this address. */
  | 'taken'
  /** The agent reaches the API server there. */
  | 'agentApi'
  /** The dataplane's maps are full. */
  | 'room';

export interface Skipped {
  /** namespace/name. */
  readonly service: string;
  /** Name or number. */
  readonly port: string;
  /** "ip:port"; null for the whole port. */
  readonly address: string | null;
  readonly reason: SkipReason;
  /** What it was: a protocol, another Service, a number. */
  readonly detail: string;
}

export interface ServiceRoutes {
  readonly routes: readonly Route[];
  readonly skipped: readonly Skipped[];
}

/** Addresses outside the cluster take a route of their own where policies differ. */
const externalSuffix = '@external';

function affinityOf({ affinitySeconds }: ServiceObject): Affinity {
  return affinitySeconds === null
    ? { kind: 'none' }
    : { kind: 'clientIP', timeoutSeconds: affinitySeconds };
}

class PortRoutes {
  readonly routes: Route[] = [];
  readonly skipped: Skipped[] = [];
  private readonly label: string;

  constructor(
    private readonly service: ServiceObject,
    private readonly port: ServicePort,
    private readonly knobs: RouteKnobs,
  ) {
    this.label = port.name === '' ? String(port.port) : port.name;
  }

  private skip(address: string | null, reason: SkipReason, detail: string): void {
    this.skipped.push({ service: this.service.key, port: this.label, address, reason, detail });
  }

  /** Those of `ips` that can be served at `port`. */
  private addresses(ips: readonly string[], port: number): VirtualAddress[] {
    return ips.flatMap((vip) => {
      if (isIPv4(vip)) return [{ vip, port, protocol: 'TCP' as const }];
      this.skip(`[${vip}]:${port}`, 'family', 'IPv6');
      return [];
    });
  }

  private ingress(port: number): VirtualAddress[] {
    return this.service.ingress.flatMap(({ ip, proxied }) => {
      const { sourceRanges } = this.service;
      if (proxied) this.skip(`${ip}:${port}`, 'ipMode', 'Proxy');
      else if (sourceRanges.length > 0)
        this.skip(`${ip}:${port}`, 'sourceRanges', sourceRanges.join(','));
      else return this.addresses([ip], port);
      return [];
    });
  }

  private add(
    suffix: string,
    addresses: readonly VirtualAddress[],
    backends: readonly Endpoint[],
  ): void {
    const ids = new Set(backends.map(endpointId));
    const seen = new Set<string>();
    const served = addresses.filter(({ vip, port }) => {
      const id = `${vip}:${port}`;
      if (seen.has(id)) return false;
      seen.add(id);
      if (ids.has(id)) this.skip(id, 'itself', id);
      return !ids.has(id);
    });
    if (served.length === 0) return;
    if (backends.length > mostBackends) {
      for (const { vip, port } of served)
        this.skip(`${vip}:${port}`, 'backends', `${backends.length} of ${mostBackends}`);
      return;
    }
    const { gear = 'auto', ...fixed } = this.knobs;
    this.routes.push({
      name: routeName(this.service.key, `${this.label}${suffix}`),
      addresses: served,
      backends,
      affinity: affinityOf(this.service),
      gear,
      ...fixed,
    });
  }

  make(slices: Iterable<SliceObject>, node: NodeObject): void {
    const { service, port } = this;
    if (port.protocol !== 'TCP') {
      this.skip(null, 'protocol', port.protocol);
      return;
    }
    if (port.port === 0) return;
    const endpoints = endpointsOf(slices, port);
    const internal = this.addresses(service.clusterIPs, port.port);
    // proxier.go: what a client on this node sends to an external address goes by policy
    // Cluster, whatever externalTrafficPolicy says: that is for traffic from outside.
    const external = [
      ...this.addresses(service.externalIPs, port.port),
      ...this.ingress(port.port),
      ...(port.nodePort === 0 ? [] : this.addresses(node.addresses, port.nodePort)),
    ];
    const everywhere = clusterEndpoints(endpoints, node);
    if (!service.internalLocal) {
      this.add('', [...internal, ...external], everywhere);
      return;
    }
    this.add('', internal, localEndpoints(endpoints, node));
    this.add(externalSuffix, external, everywhere);
  }
}

/** serviceport.go, newBaseServiceInfo(), port by port, and util/utils.go, ShouldSkipService(). */
export function serviceRoutes(
  service: ServiceObject,
  slices: Iterable<SliceObject>,
  node: NodeObject,
  knobs: RouteKnobs,
): ServiceRoutes {
  if (service.hasNoAddress) return { routes: [], skipped: [] };
  const all = [...slices];
  const made = service.ports.map((port) => {
    const routes = new PortRoutes(service, port, knobs);
    routes.make(all, node);
    return routes;
  });
  return {
    routes: made.flatMap(({ routes }) => routes),
    skipped: made.flatMap(({ skipped }) => skipped),
  };
}
