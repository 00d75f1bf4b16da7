// The API server of a large cluster, in a process of its own: so many Services, each with a
// slice of so many endpoints as a controller writes it, which change when it is told.
import { setTimeout as sleep } from 'node:timers/promises';

import { ApiServer, type KubeObject } from '../../test/kubernetes/api-server.js';
import { node, service, slice } from '../../test/kubernetes/objects.js';

/** What the server is told, and what it answers. */
export type Order =
  | {
      readonly kind: 'fill';
      readonly services: number;
      readonly endpoints: number;
      readonly kubeconfig: string;
      readonly bookmarkEveryMs: number;
    }
  | { readonly kind: 'churn'; readonly perSecond: number; readonly seconds: number }
  /** All versions are too old: everything is listed anew, while nothing has changed. */
  | { readonly kind: 'expire' };

export type Report =
  | { readonly kind: 'filled' }
  /** By this machine's clock. */
  | { readonly kind: 'asked'; readonly atMs: number }
  | { readonly kind: 'churned'; readonly changes: number }
  | { readonly kind: 'listed' };

const zones = ['zone-a', 'zone-b', 'zone-c'];

function say(report: Report): void {
  process.send?.(report);
}

/** The nth address of a network of 2^24. */
function address(network: number, n: number): string {
  return `${network}.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
}

/** With all that a real one carries and nobody asked for. */
function sliceOf(n: number, addresses: readonly string[], triggered: Date): KubeObject {
  const name = `service-${n}`;
  const endpoints = addresses.map((ip, i) => ({
    addresses: [ip],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${(n + i) % 1000}`,
    zone: zones[i % 3],
    targetRef: {
      kind: 'Pod',
      namespace: 'bench',
      name: `${name}-6b7f8d9c5-${ip.replaceAll('.', '')}`,
      uid: `3f1f0f0e-8d4c-4c5e-9a53-${String(n).padStart(6, '0')}${String(i).padStart(6, '0')}`,
    },
  }));
  return slice(
    `bench/${name}-x7k2p`,
    name,
    endpoints,
    {},
    {
      labels: {
        'kubernetes.io/service-name': name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        app: name,
      },
      annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': triggered.toISOString() },
    },
  );
}

let server: ApiServer | undefined;
const known: string[][] = [];
let fresh = 0;

async function fill(order: Extract<Order, { kind: 'fill' }>): Promise<void> {
  const opened = await ApiServer.start(order.bookmarkEveryMs);
  server = opened;
  opened.writeKubeconfig(order.kubeconfig);
  opened.apply('nodes', node('node-1', '127.96.7.1', 'zone-a'));
  for (let n = 0; n < order.services; n++) {
    const addresses = Array.from({ length: order.endpoints }, () => address(10, ++fresh));
    known.push(addresses);
    opened.apply('services', service(`bench/service-${n}`, address(127, (96 << 16) + n)));
    opened.apply('endpointslices', sliceOf(n, addresses, new Date()));
  }
  say({ kind: 'filled' });
  while (opened.asked.length === 0) await sleep(1);
  say({ kind: 'asked', atMs: Date.now() });
}

/** Each change replaces one endpoint of one slice; evenly spread, as far as timers go. */
async function churn({ perSecond, seconds }: Extract<Order, { kind: 'churn' }>): Promise<void> {
  const beganMs = performance.now();
  const changes = perSecond * seconds;
  for (let change = 0; change < changes; change++) {
    const dueMs = beganMs + (change * 1000) / perSecond;
    if (dueMs > performance.now()) await sleep(dueMs - performance.now());
    const n = (change * 7919) % known.length;
    const addresses = known[n] ?? [];
    addresses[change % addresses.length] = address(11, ++fresh);
    server?.apply('endpointslices', sliceOf(n, addresses, new Date()));
  }
  say({ kind: 'churned', changes });
}

async function expire(): Promise<void> {
  const before = server?.asked.length ?? 0;
  server?.expireWatches();
  const isWatched = () =>
    server?.watching === 2 && server.asked.slice(before).some(({ query }) => query.has('watch'));
  while (!isWatched()) await sleep(10);
  say({ kind: 'listed' });
}

process.on('message', (order: Order) => {
  if (order.kind === 'fill') void fill(order);
  else if (order.kind === 'churn') void churn(order);
  else void expire();
});
process.on('disconnect', () => process.exit());
