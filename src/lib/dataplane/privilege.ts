// Why the kernel refused: a capability that is missing, or a filter of system calls that
// refuses bpf(2) to those who have them all.
import { readFileSync } from 'node:fs';

import { errnoOf, PrivilegeError } from '../errors.js';
import { BpfMap } from './native.js';

/** Bits of capabilities(7). */
const needed = { CAP_BPF: 39n, CAP_NET_ADMIN: 12n, CAP_PERFMON: 38n } as const;
const sysAdmin = 21n;

/** Those of the three that a process lacks, by the text of its /proc/PID/status. */
export function missingCapabilities(status: string): string[] {
  const effective = BigInt(`0x${/^CapEff:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: bigint) => ((effective >> bit) & 1n) === 1n;
  return Object.entries(needed).flatMap(([name, bit]) =>
    // The other two were split from CAP_SYS_ADMIN, which still stands for them.
    has(bit) || (name !== 'CAP_NET_ADMIN' && has(sysAdmin)) ? [] : [name],
  );
}

/** Those that this process lacks. */
export function lacking(): string[] {
  return missingCapabilities(readFileSync('/proc/self/status', 'utf8'));
}

/** A pin that does not exist is ENOENT to whoever may ask the kernel at all. */
function isFiltered(): boolean {
  try {
    BpfMap.open('/sys/fs/bpf/nity.asks.whether.it.may').close();
    return false;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

/** The line to type, and the one for a manifest. */
function grantHint(uid: number): string {
  const grant = '`securityContext: {capabilities: {add: [BPF, NET_ADMIN, PERFMON]}}`';
  if (uid === 0) return `Give the container ${grant}.`;
  const typed = process.argv
    .slice(2)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`));
  return `Run \`sudo nity ${typed.join(' ')}\`, or give the container ${grant}.`;
}

export function privilegeError(what: string, cause: unknown): PrivilegeError {
  const uid = process.getuid?.() ?? 0;
  const missing = lacking();
  if (missing.length > 0) {
    const held = Object.keys(needed).filter((name) => !missing.includes(name));
    const has = held.length === 0 ? 'has none that it needs' : `has ${held.join(', ')}`;
    return new PrivilegeError(
      `The kernel refused ${what} to uid ${uid}, which lacks ${missing.join(', ')} and ${has}.`,
      grantHint(uid),
      cause,
    );
  }
  if (isFiltered()) {
    return new PrivilegeError(
      `The seccomp profile of this container refused ${what}: it does not know CAP_BPF.`,
      'Give it a profile that allows bpf to CAP_BPF, or seccompProfile type Unconfined.',
      cause,
    );
  }
  return new PrivilegeError(
    `The kernel refused ${what} to uid ${uid}, which has every capability that it needs.`,
    'Look for a security module that refuses it, as in `dmesg`; DEBUG=1 shows the call.',
    cause,
  );
}
