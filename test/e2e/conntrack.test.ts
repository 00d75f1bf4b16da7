// What is remembered of flows, asked for by either way to call a route.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { NamedServer, unavailable } from '../kernel/rig.js';
import { Desk } from './desk.js';

describe.skipIf(unavailable !== undefined)('nity inspect conntrack', () => {
  const server = new NamedServer('one', false);
  let desk: Desk;

  beforeAll(async () => {
    desk = new Desk();
    await server.listen();
    const services = ['cart', 'pay'].map((name, i) => ({
      ...{ name: `shop/${name}`, vip: `127.96.203.${i + 1}`, affinity: 'clientIP' },
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      backends: [{ address: '127.0.0.1', port: server.port }],
    }));
    writeFileSync(desk.services, JSON.stringify({ services }));
    await desk.agent();
    const dials = services.map(({ vip }) => `(exec 3<>/dev/tcp/${vip}/80; head -c 3 <&3)`);
    const script = [`echo $$ > ${join(desk.cgroup, 'cgroup.procs')}`, ...dials].join(' && ');
    const [code] = (await once(spawn('bash', ['-c', script]), 'close')) as [number];
    expect(code).toBe(0);
  });
  afterAll(async () => {
    server.close();
    await desk.close();
  });

  it.each(['shop/cart:http', '127.96.203.1:80'])('shows the affinities of %s', async (route) => {
    const { stdout } = await desk.nity('inspect', 'conntrack', '--route', route, '--json');
    const { flows } = JSON.parse(stdout) as { flows: { kind: string; route: string }[] };
    expect(flows).toContainEqual(
      expect.objectContaining({ kind: 'affinity', route: 'shop/cart:http' }),
    );
    expect(new Set(flows.map((flow) => flow.route))).toEqual(new Set(['shop/cart:http']));
  });

  it('refuses an address that is no route’s', async () => {
    const { code, stderr } = await desk.nity('inspect', 'conntrack', '--route', '127.96.203.9:80');
    expect(code).toBe(2);
    expect(stderr).toContain('There is no route 127.96.203.9:80.');
  });
});
