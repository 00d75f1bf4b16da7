// The main job, told by the built command line: on the model, on the kernel, and
// interrupted.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { unavailable, until } from '../kernel/rig.js';

const cli = join(import.meta.dirname, '../../bin/run.js');

interface Phase {
  readonly name: string;
  readonly connects: number;
  readonly failed: number;
  readonly misrouted: number;
  readonly perBackend: Record<string, number>;
  readonly shiftMs: number | null;
  readonly failsafeMs: Record<string, number>;
}

interface Demo {
  readonly schemaVersion: number;
  readonly plane: string;
  readonly ok: boolean;
  readonly phases: readonly Phase[];
}

async function demo(...args: string[]): Promise<Demo> {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, 'demo', '--json', ...args], {
    timeout: 58_000,
  });
  return JSON.parse(stdout) as Demo;
}

function expectTheStory(told: Demo): void {
  const phases = new Map(told.phases.map((phase) => [phase.name, phase]));
  expect([...phases.keys()]).toEqual([
    'steady',
    'refuse',
    'return',
    'slow',
    'recovery',
    'agent killed',
    'new agent',
  ]);
  for (const phase of phases.values()) {
    expect(phase.misrouted, phase.name).toBe(0);
    if (phase.name !== 'refuse') expect(phase.failed, phase.name).toBe(0);
  }
  // A connect hook cannot retry: those that find out are lost, and they are few.
  expect(phases.get('refuse')?.failed).toBeLessThanOrEqual(8);
  expect(phases.get('refuse')?.perBackend['shop-3']).toBeLessThan(10);
  expect(phases.get('agent killed')?.failsafeMs).toMatchObject({
    hold: expect.any(Number) as number,
    fallback: expect.any(Number) as number,
  });
  expect(told.ok).toBe(true);
}

/** What belongs to any demo among this machine's pins and cgroups. */
function leftBehind(pid: number): string[] {
  return [...readdirSync('/sys/fs/bpf'), ...readdirSync(cgroupRoot())].filter((name) =>
    name.startsWith(`nity-demo-${pid}`),
  );
}

describe('nity demo on the model', () => {
  it('tells the whole story, and the same one each time', async () => {
    const [first, second] = [await demo('--model', '--fast'), await demo('--model', '--fast')];
    expect(first).toMatchObject({ schemaVersion: 1, plane: 'model' });
    expectTheStory(first);
    expect(second).toEqual(first);
  });
});

describe.skipIf(unavailable !== undefined)('nity demo on the kernel', () => {
  it('tells the same story with real sockets', async () => {
    const told = await demo('--fast');
    expect(told).toMatchObject({ schemaVersion: 1, plane: 'kernel' });
    expectTheStory(told);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const child = spawn(process.execPath, [cli, 'demo', '--fast', '--json'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const pid = child.pid ?? 0;
    await until(() => leftBehind(pid).length === 2);
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(130);
    expect(leftBehind(pid)).toEqual([]);
  });
});
