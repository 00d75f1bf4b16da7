// The node's sensors over fixture trees: what each kernel gives, and what is said of the rest.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { stallResources, type Stalls } from '../../src/lib/field/signals.js';
import { looksPerRead, mostCgroups, NodeSensors } from '../../src/lib/sensors/node.js';

const fixtures = join(import.meta.dirname, '../fixtures/sensors');
const pod = '/kubepods/burstable/pod1';

let root: string;
let sensors: NodeSensors | undefined;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'nity-sensors-'));
});
afterEach(() => {
  sensors?.close();
  sensors = undefined;
  rmSync(root, { recursive: true });
});

function sensorsOf(kernel: string, ...cgroups: string[]): NodeSensors {
  cpSync(join(fixtures, kernel), root, { recursive: true });
  sensors = new NodeSensors({ root, cgroups });
  return sensors;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function pressure(someUs: number, fullUs: number): string {
  const averages = 'avg10=0.00 avg60=0.00 avg300=0.00';
  return `some ${averages} total=${someUs}\nfull ${averages} total=${fullUs}\n`;
}

const whys = (stalls: Stalls | undefined) =>
  stallResources.map((resource) => {
    const reading = stalls?.[resource];
    return reading?.kind === 'missing' ? reading.why : 'read';
  });

describe('the sensors of a node', () => {
  it.each(['4.20-hybrid', '5.4-v1', '6.1-v2', '6.18-hybrid'])(
    'read its stalls on %s from the second look on',
    (kernel) => {
      const node = sensorsOf(kernel);
      expect(whys(node.read(0, 0).stalls)).toEqual(
        stallResources.map(() => 'this is the first look, and a share needs two'),
      );
      expect(node.read(200, 1.5)).toMatchObject({
        stalls: { cpu: { value: { some: 0, full: 0 } }, memory: { kind: 'read' } },
        usage: { memory: { kind: 'read' } },
        loopLagMs: 1.5,
      });
    },
  );

  it('see each change of a file that stays open', () => {
    const node = sensorsOf('6.1-v2');
    node.read(0, 0);
    write('proc/pressure/memory', pressure(101_200, 50_800));
    write('proc/loadavg', '1.84 2.01 1.97 3/2215 918274\n');
    expect(node.read(200, 0)).toMatchObject({
      stalls: { memory: { value: { some: 0.5, full: 0.25 } } },
      usage: { pids: { value: { used: 2215 } } },
    });
  });

  it('say that a kernel has no PSI, and read the rest', () => {
    const node = sensorsOf('4.18-no-psi');
    const { stalls, usage } = node.read(0, 0);
    expect(whys(stalls)).toEqual(
      stallResources.map(
        (name) => `the kernel has no PSI: ${root}/proc/pressure/${name} does not exist`,
      ),
    );
    expect(usage.memory).toMatchObject({ kind: 'read' });
  });

  it('look again for what was missing after 10 s, not before', () => {
    const node = sensorsOf('4.18-no-psi');
    node.read(0, 0);
    for (const name of stallResources) write(`proc/pressure/${name}`, pressure(0, 0));
    expect(whys(node.read(9_999, 0).stalls)[0]).toContain('does not exist');
    expect(whys(node.read(10_000, 0).stalls)[0]).toContain('the first look');
    expect(whys(node.read(10_200, 0).stalls)).toEqual(['read', 'read', 'read']);
  });

  it('say it of a file that is another thing', () => {
    const node = sensorsOf('6.1-v2');
    write('proc/pressure/io', '\0\0\0');
    rmSync(join(root, 'proc/meminfo'));
    mkdirSync(join(root, 'proc/meminfo'));
    const { stalls, usage } = node.read(0, 0);
    expect(whys(stalls)[2]).toBe('the io pressure file does not have the form of PSI');
    expect(usage.memory).toEqual({
      kind: 'missing',
      why: `${root}/proc/meminfo cannot be read (EISDIR)`,
    });
  });

  it('leave no file open', () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    const node = sensorsOf('6.1-v2', pod);
    node.read(0, 0);
    expect(open()).toBeGreaterThan(before);
    node.close();
    expect(open()).toBe(before);
  });
});

describe('the cgroups of local backends', () => {
  it('have stalls of their own', () => {
    const node = sensorsOf('6.1-v2', pod);
    node.read(0, 0);
    write(`sys/fs/cgroup${pod}/cpu.pressure`, pressure(107_001, 6_000));
    expect(node.read(200, 0).cgroups.get(pod)).toMatchObject({
      cpu: { value: { some: 0.5, full: 0 } },
      memory: { value: { some: 0, full: 0 } },
    });
  });

  it('are missing where only v1 is mounted', () => {
    const { cgroups } = sensorsOf('5.4-v1', '/kubepods/pod1').read(0, 0);
    expect(whys(cgroups.get('/kubepods/pod1'))[0]).toBe(
      'only cgroup v1 is mounted, which does not tell the stalls of a cgroup',
    );
  });

  it('are missing until they are there', () => {
    const node = sensorsOf('6.1-v2', '/late');
    const why = whys(node.read(0, 0).cgroups.get('/late'))[0];
    expect(why).toContain('there is no such cgroup, or the kernel has no PSI');
    for (const name of stallResources) write(`sys/fs/cgroup/late/${name}.pressure`, pressure(0, 0));
    node.read(10_000, 0);
    expect(whys(node.read(10_200, 0).cgroups.get('/late'))).toEqual(['read', 'read', 'read']);
  });

  it('go on without a gap when others come and go', () => {
    const node = sensorsOf('6.1-v2', pod, '/other');
    node.read(0, 0);
    node.watch(['/third', pod]);
    const { cgroups } = node.read(200, 0);
    expect([...cgroups.keys()]).toEqual(['/third', pod]);
    expect(whys(cgroups.get(pod))).toEqual(['read', 'read', 'read']);
  });

  it('take turns where they are many, and keep what was last seen of them', () => {
    const many = Array.from({ length: looksPerRead * 2 }, (_, i) => `/many/pod${i}`);
    for (const cgroup of many)
      for (const name of stallResources)
        write(`sys/fs/cgroup${cgroup}/${name}.pressure`, pressure(0, 0));
    const node = sensorsOf('6.1-v2', ...many);
    const readable = (atMs: number) =>
      [...node.read(atMs, 0).cgroups.values()].filter(({ cpu }) => cpu.kind === 'read').length;
    expect([0, 200, 400, 600, 800].map(readable)).toEqual([
      ...[0, 0, looksPerRead, many.length, many.length],
    ]);
  });

  it('are watched up to a limit, and those beyond it are missing', () => {
    const many = Array.from({ length: mostCgroups + 1 }, (_, i) => `/pod${i}`);
    const { cgroups } = sensorsOf('6.1-v2', ...many).read(0, 0);
    expect(cgroups.size).toBe(mostCgroups + 1);
    expect(whys(cgroups.get(`/pod${mostCgroups}`))[0]).toBe(
      `only ${mostCgroups} cgroups are watched`,
    );
  });
});
