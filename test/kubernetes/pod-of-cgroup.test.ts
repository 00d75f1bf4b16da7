// A pod told by its cgroup's path, as the kubelet's two drivers and the runtimes write it.
import { describe, expect, it } from 'vitest';

import { podOfCgroup } from '../../src/lib/kubernetes/pod-of-cgroup.js';

const uid = '1b2c3d4e-0a1b-4c5d-8e9f-001122334455';
const container = 'ab12'.repeat(16);

describe('the pod of a cgroup', () => {
  it.each([
    [
      'the systemd driver with containerd',
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-${container}.scope`,
    ],
    [
      'a guaranteed pod of CRI-O',
      `/kubepods.slice/kubepods-pod${uid.replaceAll('-', '_')}.slice/crio-${container}.scope`,
    ],
    ['the cgroupfs driver', `/kubepods/besteffort/pod${uid}/${container}`],
    [
      'a node in a container',
      `/docker/${'f'.repeat(64)}/kubelet/kubepods/burstable/pod${uid}/${container}`,
    ],
    ['a cgroup that the container made', `/kubepods/besteffort/pod${uid}/${container}/init.scope`],
  ])('is found below %s', (_, path) => {
    expect(podOfCgroup(path)).toEqual({ uid, container });
  });

  it('has no container where only the pod is named', () => {
    expect(podOfCgroup(`/kubepods/pod${uid}`)).toEqual({ uid, container: null });
    expect(podOfCgroup(`/kubepods/pod${uid}/not-a-container`)).toEqual({ uid, container: null });
  });

  it('is a static pod’s too, whose uid is a hash', () => {
    const hash = '0123456789abcdef'.repeat(2);
    expect(podOfCgroup(`/kubepods/burstable/pod${hash}/${container}`)).toEqual({
      uid: hash,
      container,
    });
  });

  it.each([
    '/',
    '/system.slice/podman.service',
    '/user.slice/tripod-1.scope',
    `/docker/${container}`,
  ])('is nobody’s at %s', (path) => {
    expect(podOfCgroup(path)).toBeNull();
  });
});
