// An agent that follows a cluster, on the real kernel: what its API server says is what
// connects meet, and what it no longer says stays.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ApiServer } from '../kubernetes/api-server.js';
import { node, service, slice } from '../kubernetes/objects.js';
import { dial, NamedServer, ownCgroup, unavailable } from '../kernel/rig.js';
import { Desk, type RunningAgent } from './desk.js';

const vip = '127.96.203.1';

interface Routes {
  readonly routes: readonly {
    readonly route: string;
    readonly vip: string;
    readonly backends: number;
    readonly cluster: { readonly synced: boolean; readonly programmingMs: number | null } | null;
  }[];
}

describe.skipIf(unavailable !== undefined)('an agent that follows a cluster', () => {
  const home = ownCgroup();
  let desk: Desk;
  let api: ApiServer;
  let agent: RunningAgent;
  let one: NamedServer;
  let other: NamedServer;

  const enter = (cgroup: string) => {
    writeFileSync(join(cgroup, 'cgroup.procs'), String(process.pid));
  };
  /** The slice of a backend that listens here, changed this very moment. */
  const endpoint = (name: string, { port }: NamedServer) =>
    slice(
      `shop/cart-${name}`,
      'cart',
      ['127.0.0.1'],
      { ports: [{ name: 'http', protocol: 'TCP', port }] },
      {
        annotations: {
          'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString(),
        },
      },
    );
  const answers = async () => {
    const dialled = await Promise.all(Array.from({ length: 40 }, () => dial(vip, 80)));
    return [...new Set(dialled.map(({ answer }) => answer))].sort();
  };
  const start = () =>
    desk.startAgent(
      ...['--kubeconfig', join(desk.directory, 'kubeconfig'), '--node-name', 'node-a'],
      ...['--metrics-addr', '127.0.0.1:0', '--health-addr', '127.0.0.1:0'],
    );
  const served = (what: string) =>
    new RegExp(`${what} (?:is|are) served at (\\S+)`).exec(agent.log())?.[1] ?? '';

  /** As the kubelet sees it: its routes are known and in the kernel. */
  const started = async () => {
    const at = served('health');
    return at !== '' && (await fetch(`${at}/startupz`)).ok;
  };

  beforeEach(async () => {
    desk = new Desk();
    api = await ApiServer.start();
    api.writeKubeconfig(join(desk.directory, 'kubeconfig'));
    [one, other] = [new NamedServer('one', false), new NamedServer('other', false)];
    await Promise.all([one.listen(), other.listen()]);
    api.apply('nodes', node('node-a', '127.96.203.9'));
    api.apply('services', service('shop/cart', vip));
    api.apply('endpointslices', endpoint('one', one));
    agent = start();
    await expect.poll(started).toBe(true);
    enter(desk.cgroup);
  });

  afterEach(async () => {
    enter(home);
    one.close();
    other.close();
    await desk.close();
    await api.stop();
  });

  it('serves what the cluster says, and follows it', async () => {
    expect(await answers()).toEqual(['one']);
    api.apply('endpointslices', endpoint('other', other));
    await expect.poll(answers).toEqual(['one', 'other']);
    api.delete('endpointslices', 'shop', 'cart-one');
    await expect.poll(answers).toEqual(['other']);
    api.delete('services', 'shop', 'cart');
    // Nobody serves the address any more, and nobody listens there.
    await expect.poll(answers).toEqual(['ECONNREFUSED']);
  });

  it('serves on while the API server is away, and takes up what happened meanwhile', async () => {
    await api.stop();
    expect(await answers()).toEqual(['one']);
    await expect.poll(() => metric('nity_cluster_watches{state="watching"}')).toBe(0);
    expect(await answers()).toEqual(['one']);
    expect((await desk.nity('inspect', 'routes', '-o', 'wide')).stdout).toMatch(
      /CLUSTER +PENDING +PROGRAMMED IN\n.* cut off \d+(\.\d+)?m?s +- +/,
    );
    expect(await check('NITY106')).toMatchObject({
      status: 'fail',
      seen: expect.stringMatching(/endpointslices: .* \(heard \d+\.\d s ago\)/) as string,
    });
    api.apply('endpointslices', endpoint('other', other));
    api.delete('endpointslices', 'shop', 'cart-one');
    expect(await answers()).toEqual(['one']);
    await api.listen();
    await expect.poll(answers).toEqual(['other']);
  });

  it('prunes nothing when it starts again without an API server', async () => {
    await desk.end(agent.child, 'SIGKILL');
    await api.stop();
    agent = start();
    // It does not serve yet, so the kernel goes on with what it has: HOLD, then FALLBACK.
    for (let i = 0; i < 5; i++) {
      expect(await answers()).toEqual(['one']);
      await new Promise((passed) => setTimeout(passed, 800));
    }
    expect(await started()).toBe(false);
    await api.listen();
    await expect.poll(started).toBe(true);
    expect(await answers()).toEqual(['one']);
  });

  it('tells how it is with the cluster, to commands and to Prometheus', async () => {
    api.apply('endpointslices', endpoint('other', other));
    await expect.poll(answers).toEqual(['one', 'other']);
    const { stdout } = await desk.nity('inspect', 'routes', '--json');
    const { routes } = JSON.parse(stdout) as Routes;
    expect(routes).toMatchObject([
      { route: 'shop/cart:http', vip, backends: 2, cluster: { synced: true } },
    ]);
    const programmingMs = routes[0]?.cluster?.programmingMs ?? Infinity;
    expect(programmingMs).toBeGreaterThan(0);
    const wide = await desk.nity('inspect', 'routes', '-o', 'wide');
    expect(wide.stdout).toMatch(/CLUSTER +PENDING +PROGRAMMED IN\n.* synced +- +\d+(\.\d+)?m?s\n/);

    expect(await metric('nity_cluster_synced')).toBe(1);
    expect(await metric('nity_cluster_services')).toBe(1);
    expect(await metric('nity_cluster_watches{state="watching"}')).toBe(2);
    expect(await metric('nity_cluster_programming_seconds_count')).toBeGreaterThan(0);
    expect(await metric('nity_cluster_programming_seconds_sum')).toBeCloseTo(
      programmingMs / 1000,
      1,
    );
  });

  it('says what it leaves for kube-proxy, and why', async () => {
    const ports = [
      { name: 'http', protocol: 'TCP', port: 80 },
      { name: 'dns', protocol: 'UDP', port: 53 },
    ];
    api.apply('services', service('shop/cart', vip, { clusterIPs: [vip, 'fd00::1'], ports }));
    const skipped = async () => {
      const { stdout } = await desk.nity('inspect', 'routes', '--skipped', '--json');
      return (JSON.parse(stdout) as { skipped: unknown }).skipped;
    };
    await expect.poll(skipped).toEqual([
      {
        ...{ service: 'shop/cart', port: 'http', address: '[fd00::1]:80' },
        ...{ reason: 'family', detail: 'IPv6' },
      },
      { service: 'shop/cart', port: 'dns', address: null, reason: 'protocol', detail: 'UDP' },
    ]);
    const { stdout } = await desk.nity('inspect', 'routes', '--skipped');
    expect(stdout).toMatch(/^SERVICE +PORT +ADDRESS +REASON +DETAIL\n/);
    expect(stdout).toMatch(/^shop\/cart +dns +- +protocol +UDP$/m);
    // The doctor needs no way into the cluster for what the agent knows.
    expect((await check('NITY104'))?.seen).toMatch(
      /^2 ports: shop\/cart:http \(family: IPv6\), shop\/cart:dns \(protocol: UDP\)/,
    );
    expect((await check('NITY106'))?.status).toBe('ok');

    await desk.end(agent.child, 'SIGTERM');
    const without = await desk.nity('inspect', 'routes', '--skipped');
    expect(without).toMatchObject({ code: 4, stdout: '' });
    expect(without.stderr).toContain('No agent that follows a cluster answers');
  });

  it('asks for no replicas when the only backend refuses: load is not the cause', async () => {
    one.close();
    const failed = async () => {
      await answers();
      return (await metric('nity_connections_ended_total{how="refused"}')) ?? 0;
    };
    await expect.poll(failed).toBeGreaterThan(3);
    expect(await metric('nity_cluster_scale_hint{service="shop/cart",why="monopoly"}')).toBe(
      undefined,
    );
  });

  it('is not started before both lists are there, and programs nothing', async () => {
    await desk.end(agent.child, 'SIGKILL');
    // It may list Services, and no slices: all would look empty.
    const rights = api.rights.get('nity-agent');
    rights?.delete('list endpointslices');
    agent = start();
    await expect.poll(() => api.lists('services').length).toBeGreaterThan(1);
    await new Promise((passed) => setTimeout(passed, 1_500));
    expect(await started()).toBe(false);
    expect(await answers()).toEqual(['one']);
    expect(agent.log()).toContain('warn endpointslices: endpointslices is forbidden');
    rights?.add('list endpointslices');
    await expect.poll(started).toBe(true);
    expect(await answers()).toEqual(['one']);
  });

  async function check(id: string) {
    const { stdout } = await desk.nity('doctor', '--json', '--cgroup', desk.cgroup);
    const { checks } = JSON.parse(stdout) as {
      checks: { id: string; status: string; seen: string }[];
    };
    return checks.find((one) => one.id === id);
  }

  async function metric(series: string): Promise<number | undefined> {
    const text = await (await fetch(`${served('metrics')}/metrics`)).text();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length));
  }
});
