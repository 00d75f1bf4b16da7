// Which capabilities nity needs of the kernel, which of them a process has, and how a
// container is given them.

export const neededCapabilities = ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'] as const;

/** What a manifest says to have them. */
export const securityContext =
  '`securityContext: {capabilities: {add: [BPF, NET_ADMIN, PERFMON]}}`';

/** Bits of linux/capability.h that matter here. */
const bits = {
  CAP_NET_ADMIN: 12n,
  CAP_SYS_ADMIN: 21n,
  CAP_SYS_RESOURCE: 24n,
  CAP_PERFMON: 38n,
  CAP_BPF: 39n,
} as const;

/** Those that a process has in effect, by the text of its /proc/PID/status. */
export function heldCapabilities(status: string): ReadonlySet<string> {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const held = Object.entries(bits).filter(([, bit]) => ((effective >> bit) & 1n) === 1n);
  return new Set(held.map(([name]) => name));
}

export function missingCapabilities(held: ReadonlySet<string>): string[] {
  // CAP_SYS_ADMIN is what the other two were split from, and still stands for them.
  const stands = (name: string) => name !== 'CAP_NET_ADMIN' && held.has('CAP_SYS_ADMIN');
  return neededCapabilities.filter((name) => !held.has(name) && !stands(name));
}
