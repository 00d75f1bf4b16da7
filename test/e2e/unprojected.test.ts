// An agent that cannot project its field, as whoever keeps it running sees it: alive for ten
// seconds, then not, with the reason; and the one that is started instead serves.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { runAgent } from '../../src/lib/agent/run.js';
import type { RouteSource } from '../../src/lib/agent/sources.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { Projector } from '../../src/lib/dataplane/projector.js';
import { BrokenBookError } from '../../src/lib/errors.js';
import { selectionOf } from '../../src/lib/kubernetes/selection.js';
import { dial, Rig, unavailable } from '../kernel/rig.js';
import { ApiServer } from '../kubernetes/api-server.js';
import { node, service, slice } from '../kubernetes/objects.js';

// Its thread is of the built nity, which this is not.
vi.mock(import('../../src/lib/kubernetes/way-in.js'), async (actual) => {
  const wayIn = await actual();
  return { ...wayIn, findWayIn: wayIn.findWayInHere };
});

const why = 'The backend index 7 is free, and cannot become resting.';
const vip = '127.96.204.1';

interface Answer {
  readonly status: number;
  readonly why: string;
}

/** A run of the agent in this process, as `nity run-agent` makes it. */
class Run {
  readonly log: string[] = [];
  private readonly stop = new AbortController();
  private readonly ended: Promise<void>;

  constructor(pinPath: string, source: RouteSource) {
    const say = (message: string) => this.log.push(message);
    this.ended = runAgent({
      pinPath,
      source,
      knobs: defaultKnobs,
      enforceNamespaces: new Map(),
      knobSources: { file: undefined, flags: [], environment: {} },
      health: { host: '127.0.0.1', port: 0 },
      version: 'test',
      log: { info: say, warn: say },
      signal: this.stop.signal,
    });
  }

  async livez(): Promise<Answer> {
    const [, at] = /health is served at (\S+)/.exec(this.log.join('\n')) ?? [];
    if (at === undefined) return { status: 0, why: '' };
    const answer = await fetch(`${at}/livez`);
    const { why: told } = (await answer.json()) as { readonly why: readonly string[] };
    return { status: answer.status, why: told.join(' ') };
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.ended;
  }
}

describe.skipIf(unavailable !== undefined)('an agent that cannot project its field', () => {
  let rig: Rig;
  let api: ApiServer | undefined;
  let run: Run | undefined;

  beforeEach(async () => {
    rig = new Rig();
    rig.start();
    await rig.startServers(1);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    try {
      await run?.end();
    } finally {
      await api?.stop();
      await rig.stop();
      [run, api] = [undefined, undefined];
    }
  });

  const fromFile = (): RouteSource => {
    const path = join(rig.directory, 'services.yaml');
    const backends = rig.servers.map(({ port }) => ({ address: '127.0.0.1', port }));
    const cart = { name: 'shop/cart', vip, ports: [{ name: 'http', port: 80 }], backends };
    writeFileSync(path, JSON.stringify({ services: [cart] }));
    return { kind: 'file', path };
  };
  const fromCluster = async (): Promise<RouteSource> => {
    api = await ApiServer.start();
    const kubeconfig = join(rig.directory, 'kubeconfig');
    api.writeKubeconfig(kubeconfig);
    api.apply('nodes', node('node-a', '127.96.7.1'));
    api.apply('services', service('shop/cart', vip));
    const port = rig.servers[0]?.port;
    const ports = [{ name: 'http', protocol: 'TCP', port }];
    api.apply('endpointslices', slice('shop/cart-1', 'cart', ['127.0.0.1'], { ports }));
    const selection = selectionOf(undefined, undefined);
    return { kind: 'cluster', access: { kubeconfig }, selection, nodeName: 'node-a' };
  };

  it.each([
    ['a services file', fromFile],
    ['a cluster', fromCluster],
  ] as const)('fails livez after ten seconds, with routes from %s', async (_, sourceOf) => {
    const source = await sourceOf();
    const broken = vi.spyOn(Projector.prototype, 'project').mockImplementation(() => {
      throw new BrokenBookError(why);
    });
    run = new Run(rig.pinPath, source);
    const beganMs = performance.now();
    await expect.poll(() => run?.livez(), { timeout: 20_000 }).toMatchObject({ status: 200 });
    await expect
      .poll(() => run?.livez(), { timeout: 40_000, interval: 200 })
      .toMatchObject({ status: 503, why: expect.stringContaining(why) as string });
    expect(performance.now() - beganMs).toBeGreaterThan(10_000);
    expect(run.log.filter((line) => line.includes(why)).length).toBeGreaterThan(0);

    broken.mockRestore();
    await run.end();
    run = new Run(rig.pinPath, source);
    await expect
      .poll(async () => (await dial(vip, 80)).answer, { timeout: 20_000 })
      .toBe('server-0');
    expect((await run.livez()).status).toBe(200);
  });
});
