// Which endpoints a client on this node is sent to, by the rules of kube-proxy, whose
// functions are named at each. Pure: objects in, backends out.
import { isIPv4 } from 'node:net';

import type { Endpoint } from '../routes/route-set.js';
import { endpointId } from '../routes/route-set.js';
import type { EndpointObject, NodeObject, ServicePort, SliceObject } from './objects.js';

/** An endpoint at the number that this port has in its slice. */
export interface PortEndpoint {
  readonly target: Endpoint;
  readonly object: EndpointObject;
}

/**
 * endpointslicecache.go, addEndpoints(): all slices of the Service are one set. A port is
 * the one of the same name and protocol, whatever its number; an address that two slices
 * name is one endpoint, and one that is not terminating wins.
 */
export function endpointsOf(slices: Iterable<SliceObject>, port: ServicePort): PortEndpoint[] {
  const byId = new Map<string, PortEndpoint>();
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4') continue;
    for (const { name, protocol, port: number } of slice.ports) {
      if (name !== port.name || protocol !== port.protocol) continue;
      for (const object of slice.endpoints) {
        if (!isIPv4(object.address)) continue;
        const target = { address: object.address, port: number };
        const id = endpointId(target);
        if (byId.has(id) && object.terminating) continue;
        byId.set(id, { target, object });
      }
    }
  }
  // Slices come in any order, and each node is to see the same backends in the same one.
  return [...byId].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}

type Chooses = (endpoint: EndpointObject) => boolean;

/** topology.go, topologyModeFromHints(): hints count only if every ready endpoint has one and one is ours. */
function topology(endpoints: readonly PortEndpoint[], node: NodeObject): Chooses {
  const ready = endpoints.filter(({ object }) => object.ready);
  const all = (hints: 'nodeHints' | 'zoneHints') =>
    ready.length > 0 && ready.every(({ object }) => object[hints].length > 0);
  const forNode: Chooses = ({ nodeHints }) => nodeHints.includes(node.name);
  if (all('nodeHints') && ready.some(({ object }) => forNode(object))) return forNode;
  const { zone } = node;
  if (zone !== null) {
    const forZone: Chooses = ({ zoneHints }) => zoneHints.includes(zone);
    if (all('zoneHints') && ready.some(({ object }) => forZone(object))) return forZone;
  }
  return () => true;
}

/** Ready ones; if there is none, those that terminate and still serve. */
function readyOrServing(endpoints: readonly PortEndpoint[], chooses: Chooses): PortEndpoint[] {
  const ready = endpoints.filter(({ object }) => object.ready && chooses(object));
  if (ready.length > 0) return ready;
  return endpoints.filter(({ object }) => object.serving && object.terminating);
}

/** topology.go, CategorizeEndpoints(): where policy Cluster sends a client. */
export function clusterEndpoints(
  endpoints: readonly PortEndpoint[],
  node: NodeObject,
): readonly Endpoint[] {
  return readyOrServing(endpoints, topology(endpoints, node)).map(({ target }) => target);
}

/** The same for policy Local: the node's own endpoints, without a way to others. */
export function localEndpoints(
  endpoints: readonly PortEndpoint[],
  node: NodeObject,
): readonly Endpoint[] {
  const own = endpoints.filter(({ object }) => object.node === node.name);
  return readyOrServing(own, () => true).map(({ target }) => target);
}
