// Measures what a scrape costs the agent that is scraped: the time in which nothing else
// runs, and the answer over HTTP, with every route under an override (so that the worst
// are named). Beside it, in turns, prom-client's own metrics of the process, served by the
// same server of Node. The maps are the kernel's, so it needs root.
//
//   npm run build && npx tsx bench/scrape.ts [--json] [--quick]
import { mkdirSync, rmdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { collectDefaultMetrics, Registry } from 'prom-client';

import type * as AgentModule from '../src/lib/agent/agent.js';
import type * as MetricsModule from '../src/lib/audit/metrics.js';
import type * as ServerModule from '../src/lib/audit/server.js';
import type * as KnobsModule from '../src/lib/config/knobs.js';
import type * as CgroupModule from '../src/lib/dataplane/cgroup.js';
import type * as ControlModule from '../src/lib/dataplane/control.js';
import type * as LoaderModule from '../src/lib/dataplane/loader.js';
import type * as PinsModule from '../src/lib/dataplane/pins.js';
import type * as UnloadModule from '../src/lib/dataplane/unload.js';
import { routeName, type Route } from '../src/lib/routes/route-set.js';
import { built } from './built.js';
import { machine } from './machine.js';
import { atMost, head, row, table } from './report.js';
import { series, type Series } from './statistics.js';

const { Agent } = await built<typeof AgentModule>('agent/agent');
const { Audit } = await built<typeof MetricsModule>('audit/metrics');
const { serveMetrics } = await built<typeof ServerModule>('audit/server');
const { defaultKnobs } = await built<typeof KnobsModule>('config/knobs');
const { cgroupRoot } = await built<typeof CgroupModule>('dataplane/cgroup');
const { writeOverride } = await built<typeof ControlModule>('dataplane/control');
const { load } = await built<typeof LoaderModule>('dataplane/loader');
const { openPlane } = await built<typeof PinsModule>('dataplane/pins');
const { unload } = await built<typeof UnloadModule>('dataplane/unload');

const rounds = process.argv.includes('--quick') ? 20 : 200;
const backends = 10;

interface Measured {
  readonly routes: number;
  readonly series: number;
  readonly bytes: number;
  readonly seeUs: Series;
  readonly textMs: Series;
  /** Of all threads, so what a busy machine takes away does not count. */
  readonly processorMs: Series;
  readonly httpMs: Series;
  readonly peerHttpMs: Series;
}

function routesOf(count: number): Route[] {
  return Array.from({ length: count }, (_, i) => ({
    name: routeName(`bench/service-${i}`, 'http'),
    addresses: [{ vip: `127.96.${i >> 8}.${i & 255}`, port: 80, protocol: 'TCP' }],
    backends: Array.from({ length: backends }, (_, b) => ({
      address: `127.${100 + b}.${i >> 8}.${i & 255}`,
      port: 8080,
    })),
    affinity: { kind: 'none' },
    gear: 'auto',
  }));
}

async function timedMs(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

async function measure(routes: number): Promise<Measured> {
  const own = `nity-bench-scrape-${process.pid}`;
  const pinPath = `/sys/fs/bpf/${own}`;
  const cgroup = join(cgroupRoot(), own);
  mkdirSync(cgroup);
  load({ pinPath, cgroup, knobs: defaultKnobs });
  const plane = openPlane(pinPath);
  const bare = new Registry();
  collectDefaultMetrics({ register: bare });
  const peer = createServer((_, answer) => {
    void bare.metrics().then((text) => answer.end(text));
  });
  try {
    const agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
    agent.serve(routesOf(routes));
    for (let index = 1; index <= routes; index++) {
      const expiresNs = plane.nowNs() + 3_600_000_000_000n;
      writeOverride(plane, index, { mode: 'hard', expiresNs });
    }
    const audit = new Audit({
      plane,
      version: '0.0.0',
      addresses: () => agent.addressCount(),
    });
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, audit, () => 1e9);
    await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
    const ask = async (port: number) =>
      (await fetch(`http://127.0.0.1:${port}/metrics`)).arrayBuffer();
    const times = {
      see: [] as number[],
      text: [] as number[],
      processor: [] as number[],
      http: [] as number[],
    };
    const peerMs: number[] = [];
    for (let round = -10; round < rounds; round++) {
      const tick = agent.tick();
      const start = performance.now();
      audit.see(tick, performance.now());
      const sawUs = (performance.now() - start) * 1000;
      const before = process.cpuUsage();
      const textMs = await timedMs(() => audit.text());
      const { user, system } = process.cpuUsage(before);
      const httpMs = await timedMs(() => ask(server.address.port));
      const bareMs = await timedMs(() => ask((peer.address() as AddressInfo).port));
      if (round < 0) continue;
      times.see.push(sawUs);
      times.text.push(textMs);
      times.processor.push((user + system) / 1000);
      times.http.push(httpMs);
      peerMs.push(bareMs);
    }
    const text = await audit.text();
    await server.close();
    return {
      routes,
      series: text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
      bytes: text.length,
      seeUs: series(times.see),
      textMs: series(times.text),
      processorMs: series(times.processor),
      httpMs: series(times.http),
      peerHttpMs: series(peerMs),
    };
  } finally {
    peer.closeAllConnections();
    peer.close();
    plane.close();
    unload({ pinPath, force: true });
    rmdirSync(cgroup);
  }
}

const measured: Measured[] = [];
for (const routes of [100, 1_000, 8_000]) measured.push(await measure(routes));
const text = [
  machine(),
  '',
  `A scrape, in ms, ${backends} backends a route (the target is for p99)`,
  '',
  table([
    head,
    ...measured.flatMap(
      ({ routes, series: lines, bytes, seeUs, textMs, processorMs, httpMs, peerHttpMs }) => {
        const target = routes === 1_000 ? atMost(20) : undefined;
        const what = `${routes.toLocaleString('en')} routes`;
        const used = row(
          `${what}, processor: ${lines} series, ${bytes} bytes`,
          processorMs,
          2,
          target,
        );
        return [
          target === undefined
            ? used
            : [...used.slice(0, -1), target.met(processorMs.p99) ? 'yes' : 'no'],
          row(`${what}, held up`, textMs, 2),
          row(`${what}, over HTTP`, httpMs, 2),
          row('prom-client alone, over HTTP', peerHttpMs, 2),
          row(`${what}, counting one tick, in µs`, seeUs, 1),
        ];
      },
    ),
  ]),
].join('\n');
console.log(process.argv.includes('--json') ? JSON.stringify(measured, null, 1) : text);
