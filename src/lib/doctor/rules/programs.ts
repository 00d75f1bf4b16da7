// Is every program attached, where it ought to be, and the one that this build has?
import { programNames } from '../../dataplane/programs.js';
import { count, fail, ok, some, warn, type Rule } from '../check.js';
import type { Observed } from '../observed.js';
import { lacksCapabilities } from './privilege.js';

/** Null when nothing is pinned or the pins cannot be seen: NITY040 says so. */
function linksOf({ pins }: Observed) {
  return pins.kind === 'read' ? (pins.value?.links ?? null) : null;
}

export const programRules: readonly Rule[] = [
  {
    id: 'NITY040',
    group: 'programs',
    name: 'loaded',
    expected: 'a dataplane at the pin path',
    hint: 'Load it with `nity load`, or name its place with --pin-path.',
    about: 'Without a dataplane a connect to a service address is the cluster’s own affair.',
    look: ({ pins, privilege, mounts: { pinPath } }) => {
      if (pins.kind === 'missing') {
        return lacksCapabilities(privilege)
          ? null
          : fail(pins.why, 'See what is there with `bpftool`.');
      }
      return pins.value === null ? warn(`nothing at ${pinPath}`) : ok(pinPath);
    },
  },
  {
    id: 'NITY041',
    group: 'programs',
    name: 'programs pinned',
    expected: 'all that the measure of latency in force needs',
    hint: 'Put back what is missing with `nity load`.',
    about:
      'Each program that is missing is a hook that is not served: connects that are not translated, or books that are not kept.',
    look: (observed) => {
      const links = linksOf(observed);
      if (links === null) return null;
      const { plane } = observed;
      const latency = plane.kind === 'read' ? (plane.value?.latency ?? null) : null;
      const there = new Set(links.map(({ program }) => program));
      const missing = programNames.filter(
        (name) => !there.has(name) && (name !== 'nity_ingress' || latency === 'first-byte'),
      );
      return missing.length === 0
        ? ok(count(there.size, 'program'))
        : fail(`${some(missing)} missing`);
    },
  },
  {
    id: 'NITY042',
    group: 'programs',
    name: 'links alive',
    expected: 'each attached to a cgroup that exists',
    hint: 'Run `nity unload --force`, then `nity load`.',
    about:
      'A link outlives its cgroup, and a detached one its attachment: it is pinned, and runs for nobody.',
    look: (observed) => {
      const links = linksOf(observed);
      if (links === null || links.length === 0) return null;
      const stale = links.filter(({ cgroupId }) => cgroupId === 0n).map(({ program }) => program);
      return stale.length === 0
        ? ok(`${links.length} links`)
        : fail(`${some(stale)} attached to nothing`);
    },
  },
  {
    id: 'NITY043',
    group: 'programs',
    name: 'cgroup',
    expected: 'the root of the hierarchy, or the one that --cgroup names',
    hint: 'Run `nity unload` and `nity load`, or name the cgroup with --cgroup if it is meant.',
    about:
      'Only sockets that are made below the cgroup are served: what is beside it dials service addresses as they are.',
    look: (observed) => {
      const links = linksOf(observed);
      const { cgroup, attachedTo } = observed;
      if (links === null || cgroup.kind === 'missing') return null;
      const places = new Set(links.map(({ cgroupId }) => cgroupId).filter((id) => id !== 0n));
      if (places.size === 0) return null;
      const names = [...places].map((id) => attachedTo.get(id) ?? `cgroup ${id}`);
      if (places.size > 1) return fail(`programs are attached to ${some(names)}`);
      const [place] = places;
      return place === cgroup.value.id
        ? ok(cgroup.value.path)
        : fail(`${names.join('')} instead of ${cgroup.value.path}`);
    },
  },
  {
    id: 'NITY044',
    group: 'programs',
    name: 'build',
    expected: 'the programs of this nity',
    hint: 'Upgrade in place with `nity load`, then restart the agent.',
    about: 'After an upgrade of the package the old programs go on until they are replaced.',
    look: (observed) => {
      const links = linksOf(observed);
      const { build } = observed;
      if (links === null || build.kind === 'missing') return null;
      const { tags } = build.value;
      const other = links.filter(({ program, tag }) => tags[program] !== tag);
      return other.length === 0
        ? ok('this one’s')
        : warn(`another build’s: ${some(other.map(({ program }) => program))}`);
    },
  },
  {
    id: 'NITY045',
    group: 'programs',
    name: 'compiled',
    expected: 'by the JIT, each',
    hint: 'Turn the JIT on (`sysctl -w net.core.bpf_jit_enable=1`), then unload and load again.',
    about:
      'A program that was loaded while the JIT was off is interpreted for as long as it lives.',
    look: (observed) => {
      const links = (linksOf(observed) ?? []).filter(({ running }) => running !== null);
      if (links.length === 0) return null;
      const slow = links.filter(({ running }) => !running?.jited).map(({ program }) => program);
      return slow.length === 0 ? ok(`${links.length} programs`) : fail(`${some(slow)} interpreted`);
    },
  },
];
