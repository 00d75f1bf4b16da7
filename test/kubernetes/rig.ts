// A cluster source over an API server, with the kernel's side played by a list of what
// it was last given; patience is short.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ClusterRoutes, type ClusterOptions } from '../../src/lib/kubernetes/cluster.js';
import { selectionOf } from '../../src/lib/kubernetes/selection.js';
import type { Timing } from '../../src/lib/kubernetes/timing.js';
import { findWayInHere } from '../../src/lib/kubernetes/way-in.js';
import type { RouteSet } from '../../src/lib/routes/route-set.js';

export const quickly: Timing = {
  pageSize: 3,
  watchSeconds: [60, 60],
  silenceMs: 400,
  answerMs: 400,
  backoffMs: [10, 50],
  refreshMs: 60_000,
};

export async function until(holds: () => boolean, withinMs = 5_000): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > deadlineMs)
      throw new Error(`not within ${withinMs} ms: ${String(holds)}`);
    await sleep(5);
  }
}

export class Rig {
  readonly directory = mkdtempSync(join(tmpdir(), 'nity-cluster-'));
  readonly kubeconfig = join(this.directory, 'kubeconfig');
  readonly log: string[] = [];
  readonly opened: ClusterRoutes[] = [];
  /** Each set of routes that was handed over. */
  readonly served: RouteSet[] = [];
  /** Of each, whether what is not among them was to go. */
  readonly whole: boolean[] = [];
  private ticks: NodeJS.Timeout | undefined;

  /** Without ticks nothing is handed over but by tick(). */
  async open(
    options: Partial<ClusterOptions> = {},
    { ticks = true }: { readonly ticks?: boolean } = {},
  ): Promise<ClusterRoutes> {
    const say = (message: string) => this.log.push(message);
    const cluster = await ClusterRoutes.open({
      access: { kubeconfig: this.kubeconfig },
      findWayIn: findWayInHere,
      selection: selectionOf(undefined, undefined),
      nodeName: 'node-a',
      log: { info: say, warn: say },
      capacity: () => ({
        addresses: 1000,
        routes: 1000,
        backends: 1000,
        slots: 65_536,
        slotsOf: (count, fewest) =>
          Math.max(fewest ?? 64, 2 ** Math.ceil(Math.log2(count * 8 + 1))),
      }),
      endpointsFile: join(this.directory, 'api.json'),
      timing: quickly,
      own: new Set(['127.96.7.1']),
      eventSpreadMs: 0,
      ...options,
    });
    this.opened.push(cluster);
    cluster.start();
    if (!ticks) return cluster;
    this.ticks ??= setInterval(() => {
      for (const one of this.opened) this.tick(one);
    }, 10);
    return cluster;
  }

  tick(cluster: ClusterRoutes): void {
    cluster.apply((routes, isWhole) => {
      this.served.push(routes);
      this.whole.push(isWhole);
    });
    cluster.programmed();
  }

  /** What is in force, as `route address -> backends`. */
  get now(): string[] {
    const routes = this.served.at(-1) ?? [];
    return routes.map(({ name, addresses, backends }) => {
      const at = addresses.map(({ vip, port }) => `${vip}:${port}`).join(' ');
      const to = backends.map(({ address, port }) => `${address}:${port}`).join(' ');
      return `${name} ${at} -> ${to}`;
    });
  }

  async shows(...lines: readonly string[]): Promise<void> {
    const wanted = [...lines].sort().join('\n');
    try {
      await until(() => this.served.length > 0 && [...this.now].sort().join('\n') === wanted);
    } catch {
      throw new Error(
        `expected\n${wanted}\nbut in force is\n${this.now.join('\n')}\nlog:\n${this.log.join('\n')}`,
      );
    }
  }

  async close(): Promise<void> {
    clearInterval(this.ticks);
    await Promise.all(this.opened.map((cluster) => cluster.close()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}
