// What idle agents ask of the API server: real clients, whose clock runs faster, on a cluster
// in which nothing happens.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ClusterRoutes } from '../../src/lib/kubernetes/cluster.js';
import { selectionOf } from '../../src/lib/kubernetes/selection.js';
import { defaultTiming } from '../../src/lib/kubernetes/timing.js';
import { findWayInHere } from '../../src/lib/kubernetes/way-in.js';
import { ApiServer } from '../../test/kubernetes/api-server.js';
import { node, service, slice } from '../../test/kubernetes/objects.js';

export interface IdleRequests {
  readonly agents: number;
  readonly speed: number;
  readonly seconds: number;
  readonly requests: number;
  /** At the speed of life. */
  readonly perSecondOfThousand: number;
}

const agents = 20;
const speed = 20;
const bookmarkEveryMs = 60_000;

/** Counts requests for `seconds`, after each agent has come to rest. */
export async function idleRequests(directory: string, seconds: number): Promise<IdleRequests> {
  const server = await ApiServer.start(bookmarkEveryMs / speed);
  const kubeconfig = join(directory, 'idle');
  server.writeKubeconfig(kubeconfig);
  server.apply('nodes', node('node-1', '127.96.7.1'));
  server.apply('services', service('bench/one', '127.96.0.1'));
  server.apply('endpointslices', slice('bench/one', 'one', ['10.0.0.1']));
  const quiet = {
    info: () => undefined,
    warn: (line: string) => {
      console.error(line);
    },
  };
  const { watchSeconds, silenceMs, refreshMs } = defaultTiming;
  const opened: ClusterRoutes[] = [];
  for (let i = 0; i < agents; i++) {
    const cluster = await ClusterRoutes.open({
      access: { kubeconfig },
      findWayIn: findWayInHere,
      selection: selectionOf(undefined, undefined),
      nodeName: 'node-1',
      log: quiet,
      capacity: () => ({ addresses: 1, routes: 1, backends: 1, slots: 64, slotsOf: () => 64 }),
      endpointsFile: join(directory, `api-${i}`),
      timing: {
        ...defaultTiming,
        watchSeconds: [watchSeconds[0] / speed, watchSeconds[1] / speed],
        silenceMs: silenceMs / speed,
        refreshMs: refreshMs / speed,
      },
    });
    cluster.start();
    opened.push(cluster);
  }
  while (!opened.every(({ synced }) => synced)) await sleep(10);
  // Their watches began together; after the longest of them they end apart.
  await sleep((watchSeconds[1] / speed) * 1000);
  const before = server.asked.length;
  await sleep(seconds * 1000);
  const requests = server.asked.length - before;
  await Promise.all(opened.map((cluster) => cluster.close()));
  await server.stop();
  const perSecondOfThousand = (requests / seconds / speed / agents) * 1000;
  return { agents, speed, seconds, requests, perSecondOfThousand };
}
