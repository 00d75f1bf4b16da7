// How a careful operator begins: a service that is only observed, one of whose backends
// refuses; what would be done is told everywhere and done nowhere, until the file says so.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { NamedServer, unavailable } from '../kernel/rig.js';
import { Desk } from './desk.js';

const vip = '127.96.204.9';

interface Explained {
  readonly route: {
    readonly backends: readonly { readonly id: string; readonly state: string }[];
    readonly observed: {
      readonly percent: number;
      readonly slots: Readonly<Record<string, number>>;
      readonly wouldHaveIsolated: number;
    } | null;
  };
}

interface Row {
  readonly backend: string;
  readonly state: string;
  readonly slots: number;
  readonly wouldBe: { readonly state: string; readonly slots: number } | null;
}

describe.skipIf(unavailable !== undefined)('a service that is only observed', () => {
  const servers = ['one', 'two', 'gone'].map((name) => new NamedServer(name, false));
  const ids = () => servers.map(({ port }) => `127.0.0.1:${port}`);
  let desk: Desk;
  let url: string;
  let log: () => string;

  const serve = (enforce: string) => {
    const cart = {
      ...{ name: 'shop/cart', vip, enforce },
      ports: [{ name: 'http', port: 80 }],
      backends: servers.map(({ port }) => ({ address: '127.0.0.1', port })),
    };
    // JSON is YAML.
    writeFileSync(desk.services, JSON.stringify({ services: [cart] }));
  };

  /** From a process in the cgroup: how many of so many connects somebody answered. */
  const answered = async (times: number) => {
    const dial = `(exec 3<>/dev/tcp/${vip}/80 && head -c 3 <&3) 2>/dev/null | grep -c .`;
    const script = `echo $$ > ${join(desk.cgroup, 'cgroup.procs')}; for i in $(seq ${times}); do ${dial}; done`;
    const child = spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
    await once(child, 'close');
    return said.split('\n').filter((line) => line === '1').length;
  };

  /** 64 slots for three, so that a share is a third but for one slot of each round. */
  const expectTwoThirds = async () => {
    const share = await answered(60);
    expect(share).toBeGreaterThanOrEqual(38);
    expect(share).toBeLessThanOrEqual(42);
  };

  const json = async <T>(...words: readonly string[]) =>
    JSON.parse((await desk.nity(...words, '--json')).stdout) as T;
  const explained = async () => (await json<Explained>('explain', 'shop/cart:http')).route;
  const rows = async () => (await json<{ backends: Row[] }>('inspect', 'backends')).backends;
  const eventually = async <T>(ask: () => Promise<T>, met: (value: T) => boolean) => {
    for (let left = 60; ; left--) {
      const value = await ask();
      if (met(value) || left === 0) return value;
      await sleep(100);
    }
  };

  beforeAll(async () => {
    desk = new Desk();
    for (const server of servers) await server.listen();
    servers[2]?.close();
    serve('observe');
    ({ log } = await desk.agent('--metrics-addr', '127.0.0.1:0'));
    url = /http:\/\/\S+/.exec(log())?.[0] ?? 'none';
  });

  afterAll(async () => {
    for (const server of servers) server.close();
    await desk.close();
  });

  it('sends connects as by chance, though its backend refuses them', async () => {
    await expectTwoThirds();
    const judged = await eventually(explained, ({ backends }) =>
      backends.some(({ state }) => state === 'isolated'),
    );
    expect(judged.backends.find(({ state }) => state === 'isolated')?.id).toBe(ids()[2]);
    expect(judged.observed).toMatchObject({ percent: 0 });
    expect(judged.observed?.wouldHaveIsolated).toBeGreaterThanOrEqual(1);
    await expectTwoThirds();
  });

  it('tells everywhere that it is observed, and what would be done', async () => {
    const { stdout } = await desk.nity('explain', 'shop/cart:http');
    expect(stdout).toMatch(/^Only observed: nothing of this is enforced\./m);
    expect(stdout).toContain(`In full, now: ${ids()[2] ?? ''} isolated`);
    const { routes } = await json<{ routes: { enforce: string }[] }>('inspect', 'routes');
    expect(routes.map(({ enforce }) => enforce)).toEqual(['observe']);
    const gone = (await rows()).find(({ backend }) => backend === ids()[2]);
    expect(gone).toMatchObject({ state: 'healthy', wouldBe: { state: 'isolated', slots: 1 } });
    expect(gone?.slots).toBeGreaterThan(20);
    expect((await desk.nity('top', '--once')).stdout).toMatch(/shop\/cart:http\s+observe/);
    const { checks } = await json<{ checks: { id: string; status: string; seen: string }[] }>(
      'doctor',
    );
    expect(checks.find(({ id }) => id === 'NITY082')).toMatchObject({
      ...{ status: 'ok', seen: 'shop/cart:http observe' },
    });
    const text = await (await fetch(`${url}/metrics`)).text();
    expect(text).toMatch(/^nity_observed_isolations_total [1-9]/m);
    expect(text).toMatch(/^nity_backends\{state="isolated"\} 0$/m);
    expect(text).toMatch(/^nity_backends_observed\{state="isolated"\} 1$/m);
    expect(text).toMatch(/^nity_route_enforced_ratio\{route="shop\/cart:http"\} 0$/m);
  });

  it('is left as it is by a word that nobody knows', async () => {
    serve('sometimes');
    const told = await eventually(
      () => Promise.resolve(log()),
      (words) => words.includes('expected full, observe or a percentage such as 25%'),
    );
    expect(told).toContain('The last good services stay in force.');
    expect((await explained()).observed).toMatchObject({ percent: 0 });
  });

  it('is enforced from the tick on in which the file says so', async () => {
    serve('full');
    const route = await eventually(explained, ({ observed }) => observed === null);
    expect(route.observed).toBeNull();
    const gone = (await rows()).find(({ backend }) => backend === ids()[2]);
    expect(gone).toMatchObject({ state: 'isolated', slots: 1, wouldBe: null });
    // But for a probe in two seconds or four.
    expect(await answered(40)).toBeGreaterThanOrEqual(38);
  });
});
