// Is this a kernel that the dataplane runs on, and runs well?
import { fail, ok, warn, type Rule } from '../check.js';
import { newerThan } from '../../dataplane/kernel-release.js';
import { lacksCapabilities } from './privilege.js';

/** Read in user space and in kernel without leaving either; others cost a bus access a read. */
const quickClocks = ['tsc', 'kvm-clock', 'hyperv_clocksource_tsc_page', 'arch_sys_counter'];

export const kernelRules: readonly Rule[] = [
  {
    id: 'NITY020',
    group: 'kernel',
    name: 'release',
    expected: '5.18 or newer',
    hint: 'Run a kernel 5.18 or newer.',
    about:
      'A connect is refused with ECONNREFUSED by bpf_set_retval in connect hooks, which came with 5.18.',
    look: ({ kernel: { release } }) => (newerThan(release, 5, 18) ? ok(release) : fail(release)),
  },
  {
    id: 'NITY021',
    group: 'kernel',
    name: 'BTF',
    expected: '/sys/kernel/btf/vmlinux',
    hint: 'Run a kernel that was built with CONFIG_DEBUG_INFO_BTF.',
    about: 'Without it the sockets cannot be listed: NITY027 says what that means.',
    look: ({ kernel: { btf } }) => (btf ? ok('there') : warn('absent')),
  },
  {
    id: 'NITY022',
    group: 'kernel',
    name: 'JIT',
    expected: 'on',
    hint: 'Turn it on: `sysctl -w net.core.bpf_jit_enable=1`, then unload and load again.',
    about: 'Interpreted, a decision costs several times as much.',
    look: ({ kernel: { jit } }) => {
      // A kernel with CONFIG_BPF_JIT_ALWAYS_ON may not show the knob in a container.
      if (jit === null) return null;
      if (jit === 0) return fail('off');
      return jit === 2 ? warn('on, and writing every program to the log') : ok('on');
    },
  },
  {
    id: 'NITY023',
    group: 'kernel',
    name: 'JIT hardening',
    expected: 'off, or for the unprivileged only',
    hint: 'Set it to 1: `sysctl -w net.core.bpf_jit_harden=1`.',
    about:
      'Hardened for everybody, the constants of every program are blinded, and each costs more instructions.',
    look: ({ kernel: { jitHarden } }) => {
      if (jitHarden === null) return null;
      if (jitHarden === 2) return warn('on for everybody');
      return ok(jitHarden === 0 ? 'off' : 'for the unprivileged only');
    },
  },
  {
    id: 'NITY024',
    group: 'kernel',
    name: 'clock source',
    expected: 'one that is read without leaving the processor',
    hint: 'Find out why the kernel gave up tsc (`dmesg | grep -i clocksource`), or boot with clocksource=tsc.',
    about:
      'Each decision reads the clock, and so does each measured request: a slow clock is a slow connect.',
    look: ({ kernel: { clockSource } }) => {
      if (clockSource === null) return null;
      return quickClocks.includes(clockSource) ? ok(clockSource) : warn(clockSource);
    },
  },
  {
    id: 'NITY025',
    group: 'kernel',
    name: 'timing of programs',
    expected: 'off',
    hint: 'Turn it off when it is not being looked at: `sysctl -w kernel.bpf_stats_enabled=0`.',
    about: 'While it is on the kernel reads the clock twice for each run of each program.',
    look: ({ kernel: { stats } }) => {
      if (stats === null) return null;
      return stats === 0 ? ok('off') : warn('on');
    },
  },
  {
    id: 'NITY026',
    group: 'kernel',
    name: 'verifier',
    expected: 'accepts this build’s programs',
    hint: 'See what it says: `DEBUG=1 nity load --dry-run`.',
    about: 'What the kernel does not accept cannot be loaded, nor upgraded to.',
    look: ({ build, privilege }) => {
      if (build.kind === 'read')
        return ok(`accepts ${Object.keys(build.value.tags).length} programs`);
      return lacksCapabilities(privilege) ? null : fail(build.why);
    },
  },
  {
    id: 'NITY027',
    group: 'kernel',
    name: 'socket listing',
    expected: 'the kernel lists the sockets that hold a flow',
    hint: 'Run a kernel whose policy allows BPF programs of type tracing; nothing else needs it.',
    about:
      'Sockets are listed by a tracing program, which is loaded and run to find out: some kernels refuse it by policy (lockdown or a security module), whatever capabilities a process has, and one without BTF cannot take it. Connects are served and counted without it. What does not work then: the agent does not compare open counts with the sockets, and `nity inspect conntrack` and `nity bugreport` show affinities and bound sources, but no established or connecting sockets.',
    look: ({ sockets, build, privilege }) => {
      if (sockets === 'listed') return ok('works');
      // Who may load nothing has other troubles: NITY010 and NITY026 say which.
      if (build.kind === 'missing' || lacksCapabilities(privilege)) return null;
      return warn(
        `open counts are not compared with the sockets, \`nity inspect conntrack\` shows none: ${sockets.cause}`,
        sockets.advice,
      );
    },
  },
];
