// Where the agent stands: its Node, and the API server's own endpoints. Both change
// rarely; the last good endpoints are kept in a file, for a start during an outage.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { networkInterfaces } from 'node:os';
import { isIPv4 } from 'node:net';
import { z } from 'zod';

import { ApiError, type ApiClient, type ApiEndpoint } from './client.js';
import { endpointsOf } from './endpoints.js';
import { readNode, readSlice, type NodeObject } from './objects.js';

/** An API server has a few; a file with more is not ours. */
const mostEndpoints = 64;
const apiSlices =
  '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes';

const fileSchema = z.object({
  server: z.string(),
  endpoints: z
    .array(z.object({ address: z.ipv4(), port: z.int().min(1).max(65_535) }))
    .max(mostEndpoints),
});

/** This machine's own IPv4 addresses; loopback is nobody's NodePort. */
export function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return new Set(
    all
      .filter(({ internal, address }) => !internal && isIPv4(address))
      .map(({ address }) => address),
  );
}

/** Undefined if the API server will not say: RBAC, or a node that it does not know. */
export async function askNode(
  client: ApiClient,
  name: string,
  own: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<NodeObject | undefined> {
  try {
    return readNode(await client.get(`/api/v1/nodes/${name}`, signal), own);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 403 || error.status === 404)) {
      return undefined;
    }
    throw error;
  }
}

/** Where the Service default/kubernetes leads; none if the API server will not say. */
export async function askApiEndpoints(
  client: ApiClient,
  signal: AbortSignal,
): Promise<readonly ApiEndpoint[]> {
  try {
    const { items } = (await client.get(apiSlices, signal)) as { readonly items?: unknown[] };
    const slices = (items ?? []).flatMap((item) => readSlice(item) ?? []);
    const ports = [...new Set(slices.flatMap((slice) => slice.ports.map(({ name }) => name)))];
    return ports
      .flatMap((name) => endpointsOf(slices, { name, protocol: 'TCP', port: 443, nodePort: 0 }))
      .filter(({ object }) => object.ready)
      .map(({ target: { address, port } }) => ({ address, port }))
      .slice(0, mostEndpoints);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 403 || error.status === 404)) return [];
    throw error;
  }
}

/** The endpoints that were good last time; a file that is missing or not ours has none. */
export function recallApiEndpoints(file: string, server: string): readonly ApiEndpoint[] {
  try {
    const kept = fileSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
    return kept.server === server ? kept.endpoints : [];
  } catch {
    return [];
  }
}

export function keepApiEndpoints(
  file: string,
  server: string,
  endpoints: readonly ApiEndpoint[],
): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.new`;
  writeFileSync(fresh, JSON.stringify({ server, endpoints }), { mode: 0o600 });
  renameSync(fresh, file);
}
