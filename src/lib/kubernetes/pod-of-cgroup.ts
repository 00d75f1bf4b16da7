// Whose cgroup a path names on a Kubernetes node: the kubelet writes a pod's uid into it,
// and the runtime the container's identifier. Known without asking the API server.

export interface PodOfCgroup {
  readonly uid: string;
  /** Null for what runs in the pod's own cgroup, or in one that no runtime named. */
  readonly container: string | null;
}

/**
 * The systemd driver writes kubepods-besteffort-pod1b2c_3d.slice/cri-containerd-ab12.scope, the
 * cgroupfs driver besteffort/pod1b2c-3d/ab12. A static pod's uid is a hash without dashes.
 */
const pod =
  /(?:^|[/-])pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:\/(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?)?(?:\/|$)/;

export function podOfCgroup(path: string): PodOfCgroup | null {
  const [, uid, container = null] = pod.exec(path) ?? [];
  return uid === undefined ? null : { uid: uid.replaceAll('_', '-'), container };
}
