// May this process ask the kernel at all?
import { fail, ok, some, warn, type Rule } from '../check.js';
import { missingCapabilities, securityContext } from '../../dataplane/capabilities.js';
import { newerThan } from '../../dataplane/kernel-release.js';
import type { Privilege } from '../observed.js';

/** NITY010 says so: what the kernel then refuses says nothing about itself. */
export function lacksCapabilities(privilege: Privilege): boolean {
  return missingCapabilities(privilege.capabilities).length > 0;
}

export const privilegeRules: readonly Rule[] = [
  {
    id: 'NITY010',
    group: 'privilege',
    name: 'capabilities',
    expected: 'CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON',
    hint: `Run \`sudo nity doctor\`, or give the container ${securityContext}.`,
    about:
      'Without them nothing can be loaded, and most of the other checks cannot see what they are about.',
    look: ({ privilege }) => {
      const missing = missingCapabilities(privilege.capabilities);
      if (missing.length === 0) return ok(`uid ${privilege.uid} has them`);
      return fail(`uid ${privilege.uid} lacks ${some(missing)}`);
    },
  },
  {
    id: 'NITY011',
    group: 'privilege',
    name: 'user namespace',
    expected: 'the initial one',
    hint: 'Run it outside of the user namespace: on the node, or in a privileged container.',
    about:
      'The kernel grants BPF to the initial user namespace only, whatever capabilities one has in another.',
    look: ({ privilege }) =>
      privilege.initialUserNamespace ? ok('the initial one') : fail('another one'),
  },
  {
    id: 'NITY012',
    group: 'privilege',
    name: 'kernel lockdown',
    expected: 'none or integrity',
    hint: 'Boot without lockdown=confidentiality.',
    about:
      'A kernel that is locked down for confidentiality lets no program read its memory, and may refuse to load some. Where securityfs is not mounted, as in most containers, it cannot be read and the check says so; NITY026 and NITY027 then tell by loading programs what the kernel refuses.',
    look: ({ privilege: { lockdown } }) => {
      // What it would refuse is tried, and told by NITY026 and NITY027.
      if (lockdown.kind === 'missing')
        return ok(`not known, it could not be read: ${lockdown.why}`);
      const { value } = lockdown;
      if (value === null) return ok('the kernel has no lockdown');
      return value === 'confidentiality' ? fail(value) : ok(value);
    },
  },
  {
    id: 'NITY013',
    group: 'privilege',
    name: 'locked memory',
    expected: 'no limit, or a kernel 5.11 or newer',
    hint: 'Raise it: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit.',
    about:
      'Before 5.11 maps count as locked memory of the process, and the limit is met long before the maps are made.',
    look: ({ privilege: { memlockBytes }, kernel: { release } }) => {
      if (memlockBytes === null) return ok('no limit');
      const seen = `${Math.round(memlockBytes / 1024)} KiB`;
      if (newerThan(release, 5, 11)) return ok(`${seen}, which this kernel does not go by`);
      return memlockBytes < 512 << 20 ? fail(seen) : warn(seen);
    },
  },
];
