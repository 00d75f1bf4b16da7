// Why the kernel refused: a capability that is missing, or a filter of system calls that
// refuses bpf(2) to those who have them all.
import { CapabilityError, errnoOf, PrivilegeError } from '../errors.js';
import { neededCapabilities, securityContext } from './capabilities.js';
import { lacking } from './lacking.js';
import { BpfMap } from './native.js';

/** A pin that does not exist is ENOENT to whoever may ask the kernel at all. */
function isFiltered(): boolean {
  try {
    BpfMap.open('/sys/fs/bpf/nity.asks.whether.it.may').close();
    return false;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

export function privilegeError(what: string, cause: unknown): PrivilegeError {
  const uid = process.getuid?.() ?? 0;
  const missing = lacking();
  if (missing.length > 0) {
    const held = neededCapabilities.filter((name) => !missing.includes(name));
    const has = held.length === 0 ? 'has none that it needs' : `has ${held.join(', ')}`;
    return new CapabilityError(
      `The kernel refused ${what} to uid ${uid}, which lacks ${missing.join(', ')} and ${has}.`,
      `Give the container ${securityContext}.`,
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
    'The policy of the kernel (lockdown or a security module) refuses it: look for it in `dmesg`; DEBUG=1 shows the call.',
    cause,
  );
}
