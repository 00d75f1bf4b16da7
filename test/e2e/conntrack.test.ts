// What is remembered of flows, asked for by either way to call a route, on a kernel that
// lists sockets and on one that refuses to.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  refusedByPolicy,
  refusedHere,
  refusingTracing,
  withoutPerfmon,
} from '../kernel/refusal.js';
import { NamedServer, unavailable, until } from '../kernel/rig.js';
import { Desk, type RunningAgent } from './desk.js';
import { root, type Outcome } from './shell.js';

interface Told {
  readonly schemaVersion: number;
  readonly socketsMissing: string | null;
  readonly flows: readonly { readonly kind: string; readonly route: string; phase: string }[];
}

describe.skipIf(unavailable !== undefined)('nity inspect conntrack', () => {
  const server = new NamedServer('one', true);
  const children: ChildProcess[] = [];
  let desk: Desk;
  let refusing: readonly string[];
  let agent: RunningAgent;

  const start = (program: string, args: readonly string[]) => {
    const child = spawn(program, args, {
      env: desk.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (bytes: Buffer) => (said.stdout += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (said.stderr += bytes.toString()));
    return said;
  };

  beforeAll(async () => {
    desk = new Desk();
    refusing = refusingTracing(desk.directory);
    await server.listen();
    const services = ['cart', 'pay'].map((name, i) => ({
      ...{ name: `shop/${name}`, vip: `127.96.203.${i + 1}`, affinity: 'clientIP' },
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      backends: [{ address: '127.0.0.1', port: server.port }],
    }));
    writeFileSync(desk.services, JSON.stringify({ services }));
    desk.agentsUnder = refusing;
    agent = await desk.agent();
    // One connection to each stays open.
    const dials = services.map(({ vip }, i) => `exec ${3 + i}<>/dev/tcp/${vip}/80`);
    const enter = `echo $$ > ${join(desk.cgroup, 'cgroup.procs')}`;
    const script = [enter, ...dials, 'echo open', 'exec sleep 600'].join(' && ');
    const client = start('bash', ['-c', script]);
    await until(() => client.stdout === 'open\n' && server.sockets.size === 2);
  });

  afterAll(async () => {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    server.close();
    await desk.close();
  });

  const told = ({ code, stdout, stderr }: Outcome) => {
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout) as Told;
  };
  const kinds = ({ flows }: Told) => flows.map(({ kind }) => kind).sort();

  it.each(['shop/cart:http', '127.96.203.1:80'])('shows the flows of %s', async (route) => {
    const shown = told(await desk.nity('inspect', 'conntrack', '--route', route, '--json'));
    expect(kinds(shown)).toEqual(refusedHere === null ? ['affinity', 'socket'] : ['affinity']);
    expect(shown.socketsMissing).toBe(refusedHere?.cause ?? null);
    expect(new Set(shown.flows.map((flow) => flow.route))).toEqual(new Set(['shop/cart:http']));
  });

  it('refuses an address that is no route’s', async () => {
    const { code, stderr } = await desk.nity('inspect', 'conntrack', '--route', '127.96.203.9:80');
    expect(code).toBe(2);
    expect(stderr).toContain('There is no route 127.96.203.9:80.');
  });

  describe('where the kernel refuses tracing programs to everybody', () => {
    it('shows the rest, and in JSON why sockets are missing', async () => {
      const shown = told(await desk.nityUnder(refusing, 'inspect', 'conntrack', '--json'));
      expect(kinds(shown)).toEqual(['affinity', 'affinity']);
      expect(shown.socketsMissing).toMatch(refusedByPolicy);
    });

    it('says so beside the table, and asks for no capability', async () => {
      const { code, stdout, stderr } = await desk.nityUnder(refusing, 'inspect', 'conntrack');
      expect(code).toBe(0);
      expect(stdout).toMatch(/^KIND .*\naffinity .*\naffinity .*\n$/);
      expect(stderr).toMatch(
        /^The flows of sockets are not shown: the policy of this kernel .*\.\n→ No capability helps. Connects are served .*\.\n$/,
      );
      expect(stderr).not.toContain('PERFMON');
    });

    it('says so once, however often it looks', async () => {
      const [program = '', ...more] = refusing;
      const cli = join(root, 'bin/run.js');
      const words = [process.execPath, cli, 'inspect', 'conntrack', '--watch'];
      const said = start(program, [...more, ...words]);
      await until(() => said.stdout.split('KIND').length > 3);
      expect(said.stderr.split('are not shown')).toHaveLength(2);
    });

    it('still finds no fault in a backend that has no flow', async () => {
      const backend = `127.0.0.1:${server.port}`;
      const filter = ['--route', 'shop/pay:http', '--backend', backend];
      const asked = await desk.nityUnder(refusing, 'inspect', 'conntrack', ...filter);
      expect(asked.code).toBe(0);
    });
  });

  it('the agent says once that it does not compare the open counts, and serves on', async () => {
    const said = () => agent.log().split('open counts are not compared with the sockets');
    // Some seconds after it started.
    await until(() => said().length > 1);
    expect(said()[1]).toMatch(/^, and trusted as they are: the policy of this kernel /);
    const picks = async () => {
      const { stdout } = await desk.nity('inspect', 'routes', '--json');
      const { routes } = JSON.parse(stdout) as { routes: { picks: string }[] };
      return routes.map((route) => route.picks);
    };
    expect(await picks()).toEqual(['1', '1']);
    expect(said()).toHaveLength(2);
    expect(agent.child.exitCode).toBeNull();
  });

  it('without CAP_PERFMON says that this is what is missing', async () => {
    const { code, stdout, stderr } = await desk.nityUnder(withoutPerfmon, 'inspect', 'conntrack');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^KIND .*\naffinity .*\naffinity .*\n$/);
    expect(stderr).toMatch(/this process lacks CAP_PERFMON\.\n→ Give the container .*PERFMON\]/);
  });
});
