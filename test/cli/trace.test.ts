// Decisions as lines of a terminal: narrow, wide and piped; with colour and without.
import { Chalk } from 'chalk';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { Lines } from '../../src/lib/cli/trace/line.js';
import { isWanted, told, type ToldDecision, type Wanted } from '../../src/lib/cli/trace/told.js';
import type { Decision } from '../../src/lib/dataplane/tracer.js';

const picked: Decision = {
  timeNs: 1_500_000_000n,
  pid: 4_711,
  command: 'curl',
  cgroup: 77n,
  route: 'shop/cart:http',
  address: '10.96.0.10:80',
  slot: 1_023,
  backend: '10.244.101.201:18080',
  outcome: 'pickedTwin',
  costNs: 1_302,
  epoch: 12n,
  failsafeMode: 'normal',
  admissionMode: 'normal',
};
const refused: Decision = {
  ...picked,
  pid: 4_194_303,
  command: 'a-very-long-name',
  route: 'telemetry/collector-of-everything-that-happens:otlp-grpc',
  slot: null,
  backend: null,
  outcome: 'refusedNoBackends',
  costNs: 61_000,
};
const fallback: Decision = {
  ...picked,
  slot: null,
  outcome: 'pickedFallback',
  command: 'x\x1b[2Jy\n',
};

const wallMs = (timeNs: bigint) => Date.UTC(2026, 10, 24, 3, 4, 5) + Number(timeNs) / 1e6;
const pod = {
  path: '/kubepods/burstable/pod3f1c8e0a-52b1-4c8e-9a57-0d2f5e7a9b10/c0ffee',
  pod: null,
};
const all = [
  told(picked, wallMs, pod),
  told(refused, wallMs, null),
  told(fallback, wallMs, { path: '/', pod: null }),
];

function lines(width: number | null, wide: boolean, level: 0 | 1): string[] {
  const painter = new Lines(width, wide, new Chalk({ level }));
  return [painter.head(), ...all.map((one) => painter.row(one))];
}

describe('decisions as lines', () => {
  it.each([
    ['80', 80, false],
    ['200', 200, false],
    ['80-wide', 80, true],
    ['piped', null, false],
  ] as const)('at %s', async (name, width, wide) => {
    const plain = lines(width, wide, 0);
    if (width !== null && !wide)
      for (const line of plain) expect(line.length).toBeLessThanOrEqual(width);
    // eslint-disable-next-line no-control-regex
    expect(plain.join('')).not.toMatch(/[\x00-\x1f]/);
    await expect(`${plain.join('\n')}\n`).toMatchFileSnapshot(
      join(import.meta.dirname, '../fixtures/trace', `${name}.txt`),
    );
    // eslint-disable-next-line no-control-regex
    const uncoloured = lines(width, wide, 1).map((line) => line.replaceAll(/\x1b\[\d+m/g, ''));
    expect(uncoloured).toEqual(plain);
  });

  it('are yellow where a connect was refused', () => {
    const [, one = '', two = ''] = lines(120, false, 1);
    expect(one).not.toContain('\x1b[');
    expect(two.startsWith('\x1b[33m')).toBe(true);
  });
});

describe('a decision that is told', () => {
  it('has its time of day, its outcome in words, and where its process is', () => {
    expect(all[0]).toMatchObject({
      time: '2026-11-24T03:04:06.500Z',
      decision: 'picked',
      outcome: 'twin',
      cgroup: pod.path,
    });
    expect(all[1]).toMatchObject({ decision: 'refused', outcome: 'no_backends', cgroup: null });
  });

  it.each<[Partial<Wanted>, number]>([
    [{}, 3],
    [{ routes: new Set(['shop/cart:http']) }, 2],
    [{ backend: '10.244.101.201:18080' }, 2],
    [{ backend: '10.244.101.201' }, 0],
    [{ outcome: 'picked' }, 2],
    [{ outcome: 'refused' }, 1],
    [{ outcome: 'fallback' }, 1],
    [{ pid: 4_711, outcome: 'twin' }, 1],
  ])('is wanted by %j', (wanted, count) => {
    const anything: Wanted = {
      routes: undefined,
      backend: undefined,
      outcome: undefined,
      pid: undefined,
    };
    const passes = (one: ToldDecision) => isWanted(one, { ...anything, ...wanted });
    expect(all.filter(passes)).toHaveLength(count);
  });
});
