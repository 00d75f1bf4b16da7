// Are the file systems there that pins and attachments need?
import { fail, ok, some, warn, type Rule } from '../check.js';

/** Of the root of the host's hierarchy; the kernel gives it to no other cgroup. */
const rootId = 1n;

export const mountRules: readonly Rule[] = [
  {
    id: 'NITY030',
    group: 'mounts',
    name: 'BPF file system',
    expected: 'mounted where the pins are to be',
    hint: 'Mount it: `nity doctor --fix`, or `mount -t bpf bpf /sys/fs/bpf`.',
    about: 'Pins are what keeps the dataplane running when the command that loaded it ends.',
    look: ({ mounts: { pinPath, pinFileSystem, bpffs } }) => {
      if (pinFileSystem === 'bpf') return ok(`holds ${pinPath}`);
      if (bpffs.length === 0) return fail('none is mounted');
      return fail(
        `${pinPath} is not in one; there is ${some(bpffs)}`,
        'Name a place in it with --pin-path.',
      );
    },
  },
  {
    id: 'NITY031',
    group: 'mounts',
    name: 'cgroup v2',
    expected: 'mounted',
    hint: 'Mount it: `mount -t cgroup2 none /sys/fs/cgroup/unified`.',
    about:
      'The programs attach to a cgroup of the second version, and see the sockets that are made below it.',
    look: ({ mounts: { cgroup2 }, cgroup }) => {
      if (cgroup2.length === 0) return fail('not mounted');
      if (cgroup.kind === 'missing') {
        return fail(cgroup.why, 'Name a directory of the hierarchy with --cgroup.');
      }
      return ok(cgroup.value.path);
    },
  },
  {
    id: 'NITY032',
    group: 'mounts',
    name: 'cgroup namespace',
    expected: 'the initial one, or the host’s hierarchy mounted in another',
    hint: 'Run it in the host’s cgroup namespace, or mount the host’s hierarchy and name it with --cgroup.',
    about:
      'In another namespace the root that is seen is some cgroup of the node’s: what is attached there serves only what is below it.',
    look: ({ mounts, cgroup }) => {
      if (mounts.initialCgroupNamespace) return ok('the initial one');
      if (cgroup.kind === 'read' && cgroup.value.id === rootId) {
        return ok(`another one, and the host’s root is at ${cgroup.value.path}`);
      }
      return warn('another one');
    },
  },
  {
    id: 'NITY033',
    group: 'mounts',
    name: 'half-done loads',
    expected: 'none',
    hint: 'Remove them: `nity doctor --fix`, or the next `nity load`.',
    about:
      'A load that was killed may leave links beside the pin path; their programs run, on maps that nobody writes.',
    look: ({ leftovers }) => {
      const dead = leftovers.filter(({ alive }) => !alive).map(({ path }) => path);
      return dead.length === 0 ? ok('none') : fail(some(dead));
    },
  },
];
