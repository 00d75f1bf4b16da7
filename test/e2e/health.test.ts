// The probes of a real agent, asked as the kubelet asks them.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { unavailable } from '../kernel/rig.js';
import { Desk } from './desk.js';

interface Health {
  readonly probe: string;
  readonly ok: boolean;
  readonly why: readonly string[];
  readonly ticks: number;
  readonly tickAgeMs: number;
  readonly ttfHardMs: number;
}

describe.skipIf(unavailable !== undefined)('the agent’s health', () => {
  let desk: Desk;

  beforeAll(() => {
    desk = new Desk();
    desk.serve({ cart: 2 });
  });
  afterEach(() => desk.clear());
  afterAll(() => desk.close());

  async function agent(...args: string[]) {
    const started = await desk.agent('--health-addr', '127.0.0.1:0', ...args);
    const [, at = ''] = /health is served at (\S+)/.exec(started.log()) ?? [];
    const ask = async (path: string) => {
      const answer = await fetch(at + path);
      return { status: answer.status, body: (await answer.json()) as Health };
    };
    return { ...started, at, ask };
  }

  it('answers all three probes, with the numbers, once it serves', async () => {
    const { ask } = await agent();
    for (const [path, probe] of [
      ['/startupz', 'startup'],
      ['/livez', 'liveness'],
      ['/readyz', 'readiness'],
    ] as const) {
      const { status, body } = await ask(path);
      expect(status).toBe(200);
      expect(body).toMatchObject({ schemaVersion: 1, probe, ok: true, why: [], ttfHardMs: 20_000 });
      expect(body.tickAgeMs).toBeLessThan(3_000);
    }
    const { body: before } = await ask('/livez');
    await expect.poll(async () => (await ask('/livez')).body.ticks).toBeGreaterThan(before.ticks);
  });

  it('is not ready while a heartbeat is overdue, and alive all the while', async () => {
    const { child, ask } = await agent('--knob', 'tau1Ms=400', '--knob', 'tickMs=2000');
    // Between two ticks of two seconds the heartbeat is older than 400 ms.
    for (const status of [200, 503, 200]) {
      await expect.poll(async () => (await ask('/readyz')).status).toBe(status);
      expect((await ask('/livez')).status).toBe(200);
    }
    expect(child.exitCode).toBeNull();
  });

  it('is served nowhere unless an address is given, and says so when that is taken', async () => {
    const { at } = await agent();
    const taken = new URL(at).host;
    const { code, stderr } = await desk.nity(
      'run-agent',
      '--services',
      desk.services,
      '--cgroup',
      desk.cgroup,
      '--pin-path',
      `${desk.pinPath}-second`,
      '--health-addr',
      taken,
    );
    await desk.nity('unload', '--force', '--pin-path', `${desk.pinPath}-second`);
    expect(code).toBe(2);
    expect(stderr).toContain(`Health cannot be served at ${taken}`);
    expect(
      (await desk.nity('run-agent', '--services', desk.services, '--health-addr', 'here')).code,
    ).toBe(2);
  });
});
