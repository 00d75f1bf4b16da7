// Why the kernel refused: a capability that is missing, or a filter of system calls that
// refuses bpf(2) to those who have all of them.
import { readFileSync } from 'node:fs';

import { PrivilegeError } from '../errors.js';

/** Bits of capabilities(7). */
const bits = { CAP_NET_ADMIN: 12n, CAP_PERFMON: 38n, CAP_BPF: 39n } as const;
const sysAdmin = 21n;

/** `status` is the text of /proc/self/status. */
export function isFiltered(status: string): boolean {
  const effective = BigInt(`0x${/^CapEff:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: bigint) => ((effective >> bit) & 1n) === 1n;
  const capable = Object.values(bits).every(has) && !has(sysAdmin);
  return capable && /^Seccomp:\t2$/m.test(status);
}

export function privilegeError(what: string, cause: unknown): PrivilegeError {
  const uid = process.getuid?.() ?? 0;
  if (isFiltered(readFileSync('/proc/self/status', 'utf8'))) {
    return new PrivilegeError(
      `The kernel refused ${what} to uid ${uid}, which has CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: its seccomp profile refuses bpf(2).`,
      'Give the container a profile that allows bpf to CAP_BPF, or seccompProfile type Unconfined.',
      cause,
    );
  }
  return new PrivilegeError(
    `The kernel refused ${what} to uid ${uid}.`,
    'Run it with sudo, or give the container CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.',
    cause,
  );
}
