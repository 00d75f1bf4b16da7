// The metrics over the model's maps: what traffic and the law make of them, how many
// there may be, and what they must never say.
import { beforeEach, describe, expect, it } from 'vitest';

import { Agent, type Senses } from '../../src/lib/agent/agent.js';
import { catalogue, mostSeries, namedRoutes } from '../../src/lib/audit/catalogue.js';
import { parseAddress } from '../../src/lib/audit/address.js';
import { Audit } from '../../src/lib/audit/metrics.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { writeOverride } from '../../src/lib/dataplane/control.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { Latencies } from '../../src/lib/kubernetes/latencies.js';
import type { ClusterStatus } from '../../src/lib/kubernetes/status.js';
import { nothingSensed, type NodeSignals } from '../../src/lib/field/signals.js';
import { routeName, type Route } from '../../src/lib/routes/route-set.js';

const ms = 1_000_000n;

function route(i: number, ports: readonly number[]): Route {
  return {
    name: routeName(`shop/service-${i}`, 'http'),
    addresses: [{ vip: `127.96.1.${i}`, port: 80, protocol: 'TCP' }],
    backends: ports.map((port) => ({ address: '127.0.0.1', port })),
    affinity: { kind: 'none' },
    gear: 'auto',
  };
}

const watched = {
  synced: true,
  heardAgoMs: 10,
  lists: 1,
  watches: 1,
  failures: 0,
  problem: null,
};
const leftOut = {
  service: 'shop/dns',
  port: 'dns',
  address: null,
  reason: 'protocol',
  detail: 'UDP',
} as const;
const cluster: ClusterStatus = {
  schemaVersion: 1,
  server: 'https://127.0.0.1:6443',
  node: 'node-a',
  synced: false,
  watches: [
    { ...watched, resource: 'services', state: 'watching' },
    { ...watched, resource: 'endpointslices', state: 'waiting', synced: false },
  ],
  services: 3,
  slices: 4,
  routes: 2,
  oldestUnappliedMs: 1_500,
  programming: new Latencies().summary(),
  applying: new Latencies().summary(),
  skipped: [leftOut, { ...leftOut, service: 'shop/other-dns' }],
  hints: (['monopoly', 'monopoly', 'soft'] as const).map((kind, i) => ({
    service: 'shop/cart',
    route: `shop/cart:${i}`,
    kind,
    sinceMs: 0,
    words: '',
  })),
  events: { written: 2, dropped: 1 },
  requests: 17,
  progress: {},
};

describe('the metrics', () => {
  let source: ModelSource;
  let plane: Plane;
  let agent: Agent;
  let audit: Audit;
  let cookie: bigint;

  const begin = (routes: readonly Route[], node?: NodeSignals) => {
    const senses: Senses | undefined =
      node === undefined
        ? undefined
        : {
            node: () => node,
            app: () => null,
            dial: () => null,
            dialNext: () => undefined,
            hearsApps: false,
          };
    agent = new Agent({
      plane,
      knobs: defaultKnobs,
      exclusively: (change) => change(),
      ...(senses === undefined ? {} : { senses }),
    });
    agent.serve(routes);
  };
  const tick = (times = 1) => {
    for (let i = 0; i < times; i++) {
      source.model.setNowNs(source.model.nowNs() + 200n * ms);
      audit.see(agent.tick(), i);
    }
  };
  /** Connects to the first service; those to port 8002 are refused. */
  const dial = (times: number) => {
    for (let i = 0; i < times; i++) {
      const socket = source.model.socket(cookie++, 1n, 0, 0);
      if (socket.connect(ipv4ToNumber('127.96.1.1'), 80)?.port === 8002) socket.ended(1, 0, false);
      else socket.established();
      socket.release();
    }
  };
  const lines = async () =>
    (await audit.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const value = async (series: string) => {
    const line = (await lines()).find((one) => one.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };

  beforeEach(() => {
    source = new ModelSource(defaultKnobs);
    source.model.setNowNs(3_600_000n * ms);
    plane = source.plane();
    cookie = 1n;
    audit = new Audit({
      plane,
      version: '1.2.3',
      addresses: () => agent.addressCount(),
      ofProcess: false,
    });
  });

  it('count connects by how they were decided and how they ended', async () => {
    begin([route(1, [8001, 8002, 8003])]);
    tick();
    dial(30);
    tick();
    const picked =
      ((await value('nity_connects_picked_total{by="gear"}')) ?? 0) +
      ((await value('nity_connects_picked_total{by="twin"}')) ?? 0);
    expect(picked).toBe(30);
    const refused = (await value('nity_connections_ended_total{how="refused"}')) ?? 0;
    expect(refused).toBeGreaterThan(0);
    expect(await value('nity_connections_established_total')).toBe(30 - refused);
    // The kernel's totals, not what passed since the last look: asked again they are the same.
    expect(await value('nity_connections_established_total')).toBe(30 - refused);
  });

  it('tell who is isolated and why, and each slot that moved once', async () => {
    begin([route(1, [8001, 8002, 8003])]);
    tick();
    const dealt = await value('nity_slots_moved_total{cause="churn"}');
    expect(dealt).toBe(await value('nity_table_entries{table="slots"}'));
    dial(30);
    tick();
    expect(await value('nity_backends{state="isolated"}')).toBe(1);
    expect(await value('nity_backends_isolated{cause="errors"}')).toBe(1);
    expect(await value('nity_slots_moved_total{cause="isolation"}')).toBeGreaterThan(10);
  });

  it('tell of an observed route what would be, and as if nothing were of what is in force', async () => {
    const cart = { ...route(1, [8001, 8002, 8003]), enforcePercent: 0 };
    begin([cart, { ...route(2, [8004]), enforcePercent: 40 }]);
    tick();
    expect(await value('nity_observed_isolations_total')).toBe(0);
    dial(30);
    tick();
    expect(await value('nity_backends{state="isolated"}')).toBe(0);
    expect(await value('nity_backends_isolated{cause="errors"}')).toBe(0);
    expect(await value('nity_slots_moved_total{cause="isolation"}')).toBe(0);
    expect(await value('nity_routes{regime="laminar"}')).toBe(2);
    expect((await lines()).some((line) => line.startsWith('nity_route_trouble'))).toBe(false);
    expect(await value('nity_backends_observed{state="isolated"}')).toBe(1);
    expect(await value('nity_observed_isolations_total')).toBe(1);
    expect(await value('nity_observed_refusals_total')).toBe(0);
    expect(await value('nity_routes_observed{enforced="none"}')).toBe(1);
    expect(await value('nity_routes_observed{enforced="part"}')).toBe(1);
    expect(await value('nity_route_enforced_ratio{route="shop/service-1:http"}')).toBe(0);
    expect(await value('nity_route_enforced_ratio{route="shop/service-2:http"}')).toBe(0.4);
    // What was counted stays counted when all is enforced again.
    agent.serve([route(1, [8001, 8002, 8003]), route(2, [8004])]);
    tick();
    expect(await value('nity_backends{state="isolated"}')).toBe(1);
    expect(await value('nity_observed_isolations_total')).toBe(1);
    expect((await lines()).some((line) => line.includes('nity_route_enforced_ratio'))).toBe(false);
  });

  it('time first bytes in the octaves of the kernel', async () => {
    begin([route(1, [8001])]);
    tick();
    const { backendCounters } = plane;
    const histogram = backendCounters.read(1).firstByteHistogram;
    // Bucket 20 is [2^21, 1.25 * 2^21) ns: 2.1 ms and a little.
    histogram[20] = 7;
    backendCounters.write(1, { firstByteHistogram: histogram, answered: 7n });
    tick();
    expect(await value('nity_first_byte_seconds_bucket{le="0.002097152"}')).toBe(0);
    expect(await value('nity_first_byte_seconds_bucket{le="0.004194304"}')).toBe(7);
    expect(await value('nity_first_byte_seconds_bucket{le="+Inf"}')).toBe(7);
    expect(await value('nity_first_byte_seconds_count')).toBe(7);
    expect(await value('nity_first_byte_seconds_sum')).toBeCloseTo(7 * 0.00236, 3);
  });

  it('say what is missing by leaving it out, and never as zero', async () => {
    const bare = nothingSensed('this is a test');
    const read = (used: number) => ({ kind: 'read', value: { used, limit: 100 } }) as const;
    begin([route(1, [8001])], { ...bare, usage: { ...bare.usage, memory: read(25) } });
    tick();
    expect(await value('nity_node_used_ratio{resource="memory"}')).toBe(0.25);
    expect(await value('nity_node_used_ratio{resource="conntrack"}')).toBeUndefined();
    expect(await value('nity_node_stall_ratio{resource="cpu",kind="some"}')).toBeUndefined();
    expect(await value('nity_sensor_up{sensor="memory"}')).toBe(1);
    expect(await value('nity_sensor_up{sensor="psi cpu"}')).toBe(0);
    // Nothing grows, so nothing is exhausted at any time.
    expect((await lines()).some((line) => line.startsWith('nity_node_exhaustion'))).toBe(false);
  });

  it('name the resource that runs out first, and how long it lasts', async () => {
    const bare = nothingSensed('this is a test');
    const usage = { used: 8e9, limit: 1e10 };
    const node: NodeSignals = {
      ...bare,
      usage: { ...bare.usage, memory: { kind: 'read', value: usage } },
    };
    begin([route(1, [8001])], node);
    for (let i = 0; i < 30; i++) {
      usage.used += 1e7;
      tick();
    }
    const seconds = await value('nity_node_exhaustion_seconds{resource="memory"}');
    expect(seconds).toBeGreaterThan(20);
    expect(seconds).toBeLessThan(60);
  });

  it('name the worst routes and no more than so many of them', async () => {
    begin(Array.from({ length: 40 }, (_, i) => route(i + 1, [8001, 8002])));
    tick();
    for (let index = 1; index <= 40; index++) {
      const mode = index > 38 ? 'hard' : 'soft';
      writeOverride(plane, index, { mode, expiresNs: plane.nowNs() + 3_600_000n * ms });
    }
    tick();
    const named = (await lines()).filter((line) => line.startsWith('nity_route_trouble'));
    expect(named).toHaveLength(namedRoutes);
    expect(named.slice(0, 2).every((line) => line.includes('mode="hard"'))).toBe(true);
    expect(await value('nity_routes_overridden{mode="soft"}')).toBe(38);
    for (let index = 1; index <= 40; index++) plane.rtControl.write(index, { overrideWord: 0n });
    tick();
    expect((await lines()).some((line) => line.startsWith('nity_route_trouble'))).toBe(false);
  });

  it('tell of a cluster how far it is followed, and without one nothing', async () => {
    begin([route(1, [8001])]);
    tick();
    expect((await lines()).some((line) => line.startsWith('nity_cluster_'))).toBe(false);
    const applying = new Latencies();
    for (const ms of [40, 180, 200, 450]) applying.add(ms);
    audit = new Audit({
      plane,
      version: '1.2.3',
      addresses: () => agent.addressCount(),
      ofProcess: false,
      cluster: () => ({ ...cluster, applying: applying.summary() }),
    });
    for (const look of ['once', 'again']) {
      const series = Object.fromEntries(
        (await lines()).map((line) => line.split(' ') as [string, string]),
      );
      expect(series, look).toMatchObject({
        nity_cluster_synced: '0',
        nity_cluster_unapplied_seconds: '1.5',
        'nity_cluster_watches{state="watching"}': '1',
        'nity_cluster_watches{state="waiting"}': '1',
        'nity_cluster_skipped{reason="protocol"}': '2',
        'nity_cluster_skipped{reason="room"}': '0',
        'nity_cluster_scale_hint{service="shop/cart",why="monopoly"}': '1',
        'nity_cluster_scale_hint{service="shop/cart",why="soft"}': '1',
        nity_cluster_requests_total: '17',
        'nity_cluster_events_total{outcome="dropped"}': '1',
        'nity_cluster_applying_seconds_bucket{le="0.05"}': '1',
        'nity_cluster_applying_seconds_bucket{le="0.2"}': '3',
        'nity_cluster_applying_seconds_bucket{le="+Inf"}': '4',
        nity_cluster_applying_seconds_sum: '0.87',
        nity_cluster_programming_seconds_count: '0',
      });
    }
  });

  it('name no more Services that want replicas than so many', async () => {
    begin([route(1, [8001])]);
    tick();
    // Each Service suffers at two of its ports.
    const hints = Array.from({ length: 80 }, (_, i) => {
      const service = `shop/s${i >> 1}`;
      return { service, route: `${service}:${i}`, sinceMs: 0, words: '', kind: 'soft' as const };
    });
    let standing = hints;
    audit = new Audit({
      plane,
      version: '1.2.3',
      addresses: () => agent.addressCount(),
      ofProcess: false,
      cluster: () => ({ ...cluster, hints: standing }),
    });
    const named = async () =>
      (await lines()).filter((line) => line.startsWith('nity_cluster_scale_hint'));
    expect(await named()).toHaveLength(namedRoutes);
    standing = [];
    expect(await named()).toEqual([]);
  });

  it('stay within the catalogue: no other name, no other value of a label, no more series', async () => {
    begin(Array.from({ length: 40 }, (_, i) => route(i + 1, [8001, 8002, 8003])));
    tick();
    dial(50);
    for (let index = 1; index <= 40; index++) {
      writeOverride(plane, index, { mode: 'hard', expiresNs: plane.nowNs() + 3_600_000n * ms });
    }
    tick(5);
    const told = await lines();
    const byName = new Map(Object.values(catalogue).map((metric) => [metric.name, metric]));
    for (const line of told) {
      const [, full = '', labels = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
      const metric = byName.get(full) ?? byName.get(full.replace(/_(bucket|sum|count)$/, ''));
      expect(metric, line).toBeDefined();
      for (const [, label = '', said = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
        const allowed = (metric?.labels as Readonly<Record<string, unknown>> | undefined)?.[label];
        if (Array.isArray(allowed)) expect(allowed, line).toContain(said);
        else if (label !== 'le') expect(allowed, line).toHaveProperty('atMost');
      }
    }
    const most = Object.values(catalogue).reduce((sum, metric) => sum + mostSeries(metric), 0);
    expect(told.length).toBeLessThanOrEqual(most);
    expect(most).toBeLessThan(2000);
    // The rule that nothing may break: no backend, no pod, no address.
    expect(told.join('\n')).not.toMatch(/\d+\.\d+\.\d+\.\d+|:800\d/);
  });
});

describe('the catalogue of metrics', () => {
  it('follows the conventions of Prometheus in every name', () => {
    for (const { name, type, help, labels } of Object.values(catalogue)) {
      expect(name).toMatch(/^nity_[a-z_]+$/);
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      expect(name, 'base units only').not.toMatch(/_(ms|us|ns|milliseconds|percent|kib)(_|$)/);
      expect(help, name).toMatch(/^[A-Z0-9].*\.$/);
      for (const label of Object.keys(labels)) {
        expect(label).not.toMatch(/backend|pod|ip|address|instance|job/);
      }
    }
  });
});

describe('the address to serve metrics at', () => {
  it('is a host and a port', () => {
    expect(parseAddress('127.0.0.1:9464', 'metrics')).toEqual({ host: '127.0.0.1', port: 9464 });
    expect(parseAddress('[::1]:0', 'metrics')).toEqual({ host: '::1', port: 0 });
    expect(parseAddress('localhost:1', 'metrics')).toEqual({ host: 'localhost', port: 1 });
  });

  it.each(['9464', ':9464', '::1:9464', '127.0.0.1', '127.0.0.1:65536', '127.0.0.1:x'])(
    'is not %s',
    (text) => {
      expect(() => parseAddress(text, 'metrics')).toThrow(/is not an address to serve metrics at/);
    },
  );
});
