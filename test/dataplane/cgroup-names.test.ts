// Cgroups by their numbers, over directories that stand for them.
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CgroupNames, podOf } from '../../src/lib/dataplane/cgroup-names.js';

const uid = '3f1c8e0a-52b1-4c8e-9a57-0d2f5e7a9b10';

describe('names of cgroups', () => {
  let root: string;
  let names: CgroupNames;
  const make = (path: string) => {
    mkdirSync(join(root, path), { recursive: true });
    return statSync(join(root, path), { bigint: true }).ino;
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'nity-cgroups-'));
    names = new CgroupNames(root);
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  it('are paths below the root', () => {
    const inode = make('system.slice/sshd.service');
    expect(names.find(inode, 0)).toEqual({ path: '/system.slice/sshd.service', pod: null });
    expect(names.find(statSync(root, { bigint: true }).ino, 0)?.path).toBe('/');
  });

  it('are looked for once a second at most, and outlive their cgroups', () => {
    make('a');
    expect(names.find(1n, 0)).toBeNull();
    const later = make('kubepods/later');
    expect(names.find(later, 999)).toBeNull();
    expect(names.find(later, 1_000)?.path).toBe('/kubepods/later');
    rmdirSync(join(root, 'kubepods/later'));
    expect(names.find(2n, 5_000)).toBeNull();
    expect(names.find(later, 5_000)?.path).toBe('/kubepods/later');
  });

  it.each([
    [`/kubepods/burstable/pod${uid}/0123abcd`, uid],
    [
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-0123.scope`,
      uid,
    ],
    [`/kubepods/pod${uid}`, uid],
    ['/system.slice/podman.service', null],
    ['/user.slice', null],
  ])('name the pod of %s', (path, pod) => {
    expect(podOf(path)).toBe(pod);
  });
});
