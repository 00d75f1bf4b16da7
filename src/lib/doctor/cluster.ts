// Looks at the cluster once, from this node: asks the API server and kube-proxy, and changes
// nothing. What cannot be read is noted with its reason. What the agent follows it says itself.
import { request } from 'node:http';
import { z } from 'zod';

import type { Api, ApiAnswer } from '../kubernetes/ask.js';
import { notKnown } from '../kubernetes/client.js';
import { messageOf } from '../errors.js';
import type { Reading } from '../field/signals.js';

/** What the agent asks of the API server, as the ClusterRole in deploy/ grants it. */
export const neededPermissions = [
  { group: '', resource: 'services', verb: 'list' },
  { group: '', resource: 'services', verb: 'watch' },
  { group: 'discovery.k8s.io', resource: 'endpointslices', verb: 'list' },
  { group: 'discovery.k8s.io', resource: 'endpointslices', verb: 'watch' },
  { group: '', resource: 'nodes', verb: 'get' },
  { group: '', resource: 'events', verb: 'create' },
] as const;
export type Permission = (typeof neededPermissions)[number];

/** Ports of Services that no slice has by name, as "namespace/service:port". */
export interface UnmatchedPorts {
  readonly ports: readonly string[];
  /** Of how many objects, where the cluster has more; null: of all. */
  readonly ofFirst: number | null;
}

export interface ClusterSeen {
  readonly server: string;
  readonly api: Reading<{ readonly version: string; readonly tookMs: number }>;
  /** How far this node's clock is ahead of the API server's; null if that has no Date. */
  readonly aheadMs: number | null;
  readonly permissions: Reading<
    readonly { readonly permission: Permission; readonly allowed: boolean }[]
  >;
  readonly unmatchedPorts: Reading<UnmatchedPorts>;
}

/** "iptables", "ipvs", "nftables"; null: nobody answers. */
export type KubeProxyMode = string | null;

async function attempt<T>(read: () => Promise<T>): Promise<Reading<T>> {
  try {
    return { kind: 'read', value: await read() };
  } catch (error) {
    return { kind: 'missing', why: messageOf(error) };
  }
}

export async function probeCluster(api: Api, nowMs = Date.now): Promise<ClusterSeen> {
  const beforeMs = nowMs();
  const version = await attempt(() => api.ask({ method: 'GET', path: '/version' }));
  const afterMs = nowMs();
  const unreachable = version.kind === 'missing' ? version : null;
  return {
    server: api.server,
    api: unreachable ?? (await attempt(() => apiVersion(version, afterMs - beforeMs))),
    aheadMs: version.kind === 'read' ? ahead(version.value, beforeMs, afterMs) : null,
    permissions: unreachable ?? (await attempt(() => seePermissions(api))),
    unmatchedPorts: unreachable ?? (await attempt(() => seeUnmatchedPorts(api))),
  };
}

function apiVersion(answer: Reading<ApiAnswer>, tookMs: number) {
  if (answer.kind === 'missing') return Promise.reject(new Error(answer.why));
  const { status, body } = answer.value;
  if (status === 401) return Promise.reject(new Error(notKnown));
  const told = z.object({ gitVersion: z.string() }).safeParse(body);
  // RBAC may hide the version from whoever is let in.
  if (status !== 403 && !told.success) {
    return Promise.reject(new Error(`it answers ${status} to /version`));
  }
  return Promise.resolve({ version: told.data?.gitVersion ?? 'a version it hides', tookMs });
}

/** A Date is cut to the second, and was written some time between question and answer. */
function ahead({ date }: ApiAnswer, beforeMs: number, afterMs: number): number | null {
  if (date === null) return null;
  const [earliest, latest] = [date.getTime(), date.getTime() + 999];
  if (beforeMs > latest) return beforeMs - latest;
  return afterMs < earliest ? afterMs - earliest : 0;
}

const reviewSchema = z.object({ status: z.object({ allowed: z.boolean() }) });

async function seePermissions(api: Api) {
  return Promise.all(
    neededPermissions.map(async (permission) => {
      const { status, body } = await api.ask({
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        body: {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes: permission },
        },
      });
      const review = reviewSchema.safeParse(body);
      if (!review.success) throw new Error(`it answers ${status} to a SelfSubjectAccessReview`);
      return { permission, allowed: review.data.status.allowed };
    }),
  );
}

const metadataSchema = z.object({
  name: z.string(),
  namespace: z.string(),
  labels: z.record(z.string(), z.string()).optional(),
});
/** Its `continue` is not empty on a page that is not the last. */
const pageSchema = z.object({ continue: z.string().default('') }).default({ continue: '' });
const servicesSchema = z.object({
  metadata: pageSchema,
  items: z.array(
    z.object({
      metadata: metadataSchema,
      spec: z.object({
        selector: z.record(z.string(), z.string()).nullish(),
        ports: z
          .array(z.object({ name: z.string().optional(), protocol: z.string().default('TCP') }))
          .nullish(),
      }),
    }),
  ),
});
const slicesSchema = z.object({
  metadata: pageSchema,
  items: z.array(
    z.object({
      metadata: metadataSchema,
      ports: z
        .array(z.object({ name: z.string().nullish(), protocol: z.string().nullish() }))
        .nullish(),
    }),
  ),
});

/** A look, not a list: of a larger cluster the first so many. */
const mostObjects = 500;

/** kube-proxy and Nity match a Service's port to a slice's by name and protocol. */
async function seeUnmatchedPorts(api: Api): Promise<UnmatchedPorts> {
  const slices = new Map<string, Set<string>>();
  const listed = await list(api, '/apis/discovery.k8s.io/v1/endpointslices', slicesSchema);
  const isCut = listed.metadata.continue !== '';
  const last = isCut ? listed.items.at(-1)?.metadata : undefined;
  for (const { metadata, ports } of listed.items) {
    const service = metadata.labels?.['kubernetes.io/service-name'];
    if (service === undefined) continue;
    // Slices are listed by name, "SERVICE-xxxxx": more of this Service may come after the last.
    if (metadata.namespace === last?.namespace && `${service}-~` > last.name) continue;
    const key = `${metadata.namespace}/${service}`;
    const names = slices.get(key) ?? new Set();
    for (const { name, protocol } of ports ?? []) names.add(`${name ?? ''}/${protocol ?? 'TCP'}`);
    slices.set(key, names);
  }
  const services = await list(api, '/api/v1/services', servicesSchema);
  const ports = services.items.flatMap(({ metadata, spec }) => {
    const key = `${metadata.namespace}/${metadata.name}`;
    const names = slices.get(key);
    // Without a port in any slice it has no endpoints, which is another matter.
    if (names === undefined || names.size === 0) return [];
    return (spec.ports ?? [])
      .filter(({ name = '', protocol }) => !names.has(`${name}/${protocol}`))
      .map(({ name }) => `${key}:${name ?? '(no name)'}`);
  });
  return { ports, ofFirst: isCut || services.metadata.continue !== '' ? mostObjects : null };
}

/** Without resourceVersion=0, with which an API server ignores the limit. */
async function list<T>(api: Api, path: string, schema: z.ZodType<T>): Promise<T> {
  const { status, body } = await api.ask({ method: 'GET', path: `${path}?limit=${mostObjects}` });
  const read = schema.safeParse(body);
  if (!read.success) throw new Error(`it answers ${status} to ${path}`);
  return read.data;
}

const patienceMs = 1_000;

/** `at`: where kube-proxy of this node answers, by its default. */
export function askKubeProxy(at = 'http://127.0.0.1:10249'): Promise<KubeProxyMode> {
  return new Promise((resolve) => {
    const nobody = () => {
      resolve(null);
    };
    const sent = request(`${at}/proxyMode`, { signal: AbortSignal.timeout(patienceMs) });
    sent.on('error', nobody);
    sent.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('error', nobody);
      answer.on('end', () => {
        // Another program may have the port.
        resolve(answer.statusCode === 200 && /^[a-z-]{1,32}$/.test(text) ? text : null);
      });
    });
    sent.end();
  });
}
