// Where a cgroup's files are on each kind of host, and what it uses of its limits.
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  CgroupLimits,
  parseCgroupUsage,
  parseHierarchies,
  pressureFolder,
  readHierarchies,
  type Hierarchies,
} from '../../src/lib/sensors/cgroups.js';
import { anyString, anyText } from './texts.js';

const fixtures = join(import.meta.dirname, '../fixtures/sensors');
const v1 = { memory: '/sys/fs/cgroup/memory', pids: '/sys/fs/cgroup/pids' };
const none = { memory: undefined, pids: undefined };

function hierarchiesOf(kernel: string): Hierarchies {
  const found = readHierarchies(join(fixtures, kernel));
  if (found.kind === 'missing') throw new Error(found.why);
  return found.value;
}

describe('the hierarchies of a host', () => {
  it.each([
    ['6.1-v2', { unified: '/sys/fs/cgroup', legacy: none }],
    ['5.4-v1', { unified: undefined, legacy: v1 }],
    ['4.20-hybrid', { unified: '/sys/fs/cgroup/unified', legacy: v1 }],
    ['6.18-hybrid', { unified: '/sys/fs/cgroup/unified', legacy: v1 }],
  ])('are found on %s', (kernel, expected) => {
    expect(hierarchiesOf(kernel)).toEqual(expected);
  });

  it('are taken where they reach furthest up, and never at a subtree', () => {
    const mount = (root: string, point: string) =>
      `31 22 0:27 ${root} ${point} rw,relatime shared:9 - cgroup2 cgroup2 rw\n`;
    const seen = (text: string) => parseHierarchies(text).unified;
    expect(seen(mount('/', '/own') + mount('/../../..', '/host') + mount('/..', '/pod'))).toBe(
      '/host',
    );
    expect(seen(mount('/kubepods/pod1', '/bound') + mount('/', '/all'))).toBe('/all');
    expect(seen(mount('/kubepods/pod1', '/bound'))).toBeUndefined();
  });

  it('may be at a place with a space in its name', () => {
    const text = '31 22 0:27 / /mnt/my\\040groups rw - cgroup2 none rw\n';
    expect(parseHierarchies(text).unified).toBe('/mnt/my groups');
  });

  it('are missing where there is no mountinfo', () => {
    expect(readHierarchies('/nowhere')).toEqual({
      kind: 'missing',
      why: '/nowhere/proc/self/mountinfo cannot be read (ENOENT)',
    });
  });

  it('are looked for in any text without an exception', () => {
    fc.assert(
      fc.property(anyString, (text) => {
        parseHierarchies(text);
      }),
    );
  });
});

describe('the stalls of a cgroup', () => {
  it('are in the v2 hierarchy, alone or beside v1', () => {
    expect(pressureFolder(hierarchiesOf('6.1-v2'), '/kubepods/pod1')).toEqual({
      kind: 'read',
      value: '/sys/fs/cgroup/kubepods/pod1',
    });
    expect(pressureFolder(hierarchiesOf('4.20-hybrid'), '/system.slice')).toEqual({
      kind: 'read',
      value: '/sys/fs/cgroup/unified/system.slice',
    });
  });

  it('are not to be had of v1, or of nothing', () => {
    expect(pressureFolder(hierarchiesOf('5.4-v1'), '/kubepods/pod1')).toEqual({
      kind: 'missing',
      why: 'only cgroup v1 is mounted, which does not tell the stalls of a cgroup',
    });
    expect(pressureFolder({ unified: undefined, legacy: none }, '/kubepods')).toEqual({
      kind: 'missing',
      why: 'no cgroup v2 hierarchy is mounted',
    });
  });

  it.each([
    '',
    '/',
    'kubepods',
    '/kubepods/',
    '/a//b',
    '/a/../../../etc',
    '/./a',
    '/a/..',
    '/a\0b',
  ])('are not looked for at %j', (cgroup) => {
    expect(pressureFolder(hierarchiesOf('6.1-v2'), cgroup)).toMatchObject({ kind: 'missing' });
  });

  it('may be of a name with dots that lead nowhere', () => {
    const folder = pressureFolder(hierarchiesOf('6.1-v2'), '/...a/b..c/.d');
    expect(folder).toEqual({ kind: 'read', value: '/sys/fs/cgroup/...a/b..c/.d' });
  });
});

describe('what a cgroup uses of its limits', () => {
  function usageOf(kernel: string, cgroup: string) {
    const limits = new CgroupLimits(join(fixtures, kernel), hierarchiesOf(kernel), cgroup);
    try {
      return limits.read(0);
    } finally {
      limits.close();
    }
  }

  it('is read of v2', () => {
    expect(usageOf('6.1-v2', '/kubepods/burstable/pod1')).toEqual({
      memory: { kind: 'read', value: { used: 104_857_600, limit: 134_217_728 } },
      pids: { kind: 'missing', why: 'the cgroup has no limit of pids' },
    });
  });

  it('is read of v1, also where v2 is mounted beside it', () => {
    expect(usageOf('5.4-v1', '/kubepods/pod1')).toEqual({
      memory: { kind: 'read', value: { used: 52_428_800, limit: 67_108_864 } },
      pids: { kind: 'read', value: { used: 5, limit: 1024 } },
    });
    expect(usageOf('6.18-hybrid', '/kubepods/pod1')).toEqual({
      memory: { kind: 'read', value: { used: 0, limit: 268_435_456 } },
      pids: { kind: 'read', value: { used: 0, limit: 512 } },
    });
  });

  it('is nothing of the largest number, by which v1 means no limit', () => {
    expect(usageOf('5.4-v1', '/kubepods/pod2').memory).toEqual({
      kind: 'missing',
      why: 'the cgroup has no limit of memory',
    });
  });

  it('is missing, with its path, if there is no such cgroup', () => {
    expect(usageOf('6.1-v2', '/nobody').pids).toMatchObject({
      why: expect.stringMatching(
        /^there is no such cgroup, or it has no controller pids: .*\/nobody\/pids.current does not exist$/,
      ) as string,
    });
    expect(usageOf('6.1-v2', '/../..').pids).toMatchObject({ kind: 'missing' });
  });

  it('is never more than a number, whatever the texts', () => {
    fc.assert(
      fc.property(anyText, anyText, (current, max) => {
        const usage = parseCgroupUsage(current, max, 'memory');
        if (usage.kind === 'missing') return;
        expect(usage.value.used).toBeGreaterThanOrEqual(0);
        expect(usage.value.limit).toBeGreaterThan(0);
        expect(Number.isFinite(usage.value.limit)).toBe(true);
      }),
    );
  });
});
