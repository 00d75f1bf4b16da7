// What the node says of itself in files: privileges, the kernel's switches, mounts,
// processes and sensors. `root` holds proc/ and sys/; it is / but for tests.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { heldCapabilities } from '../dataplane/capabilities.js';
import { mountsOf } from '../dataplane/cgroup.js';
import { errnoOf, messageOf } from '../errors.js';
import type { Reading, StallResource } from '../field/signals.js';
import { parsePressure, type StallTotals } from '../sensors/psi.js';
import { LimitSensors } from '../sensors/limits.js';
import type { Kernel, Mounts, Privilege, Sensors } from './observed.js';

/** Inode numbers of the initial namespaces, include/linux/proc_ns.h. */
const initialUser = 'user:[4026531837]';
const initialCgroup = 'cgroup:[4026531835]';

export class Machine {
  constructor(private readonly root = '/') {}

  private text(path: string): string | null {
    try {
      return readFileSync(join(this.root, path), 'utf8').trim();
    } catch {
      return null;
    }
  }

  private number(path: string): number | null {
    const text = this.text(path);
    return text === null || !/^-?\d+$/.test(text) ? null : Number(text);
  }

  private link(path: string): string | null {
    try {
      return readlinkSync(join(this.root, path));
    } catch {
      return null;
    }
  }

  privilege(): Privilege {
    const status = this.text('/proc/self/status') ?? '';
    const limits = this.text('/proc/self/limits') ?? '';
    const memlock = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited';
    return {
      uid: Number(/^Uid:\s*\d+\s+(\d+)/m.exec(status)?.[1] ?? 0),
      capabilities: heldCapabilities(status),
      initialUserNamespace: (this.link('/proc/self/ns/user') ?? initialUser) === initialUser,
      lockdown: this.lockdown(),
      memlockBytes: memlock === 'unlimited' ? null : Number(memlock),
    };
  }

  /** securityfs has a file for it where the kernel can be locked down, and always has others. */
  private lockdown(): Reading<string | null> {
    const directory = '/sys/kernel/security';
    try {
      if (!readdirSync(join(this.root, directory)).includes('lockdown')) {
        const isMounted = mountsOf(this.text('/proc/self/mountinfo') ?? '', 'securityfs').includes(
          directory,
        );
        return isMounted
          ? { kind: 'read', value: null }
          : { kind: 'missing', why: `no securityfs is mounted at ${directory}` };
      }
      const text = readFileSync(join(this.root, directory, 'lockdown'), 'utf8');
      const [, mode] = /\[(\w+)\]/.exec(text) ?? [];
      return mode === undefined
        ? { kind: 'missing', why: `${directory}/lockdown does not have the form that is known` }
        : { kind: 'read', value: mode };
    } catch (error) {
      const code = errnoOf(error);
      return code === 'ENOENT'
        ? { kind: 'missing', why: `there is no ${directory}` }
        : { kind: 'missing', why: `${directory} cannot be read (${code ?? messageOf(error)})` };
    }
  }

  kernel(): Kernel {
    return {
      release: this.text('/proc/sys/kernel/osrelease') ?? '0.0',
      jit: this.number('/proc/sys/net/core/bpf_jit_enable'),
      jitHarden: this.number('/proc/sys/net/core/bpf_jit_harden'),
      stats: this.number('/proc/sys/kernel/bpf_stats_enabled'),
      clockSource: this.text('/sys/devices/system/clocksource/clocksource0/current_clocksource'),
      btf: this.exists('/sys/kernel/btf/vmlinux'),
    };
  }

  private exists(path: string): boolean {
    return statSync(join(this.root, path), { throwIfNoEntry: false }) !== undefined;
  }

  mounts(pinPath: string, pinFileSystem: Mounts['pinFileSystem']): Mounts {
    const mountinfo = this.text('/proc/self/mountinfo') ?? '';
    return {
      pinPath,
      pinFileSystem,
      bpffs: mountsOf(mountinfo, 'bpf'),
      cgroup2: mountsOf(mountinfo, 'cgroup2'),
      initialCgroupNamespace:
        (this.link('/proc/self/ns/cgroup') ?? initialCgroup) === initialCgroup,
    };
  }

  sensors(nowMs: number): Sensors {
    const stall = (resource: StallResource): Reading<StallTotals> => {
      const text = this.text(`/proc/pressure/${resource}`);
      return text === null
        ? { kind: 'missing', why: 'the kernel has no PSI' }
        : parsePressure(text, resource);
    };
    const limits = new LimitSensors(this.root);
    try {
      return {
        stalls: { cpu: stall('cpu'), memory: stall('memory'), io: stall('io') },
        usage: limits.read(nowMs, 0),
      };
    } finally {
      limits.close();
    }
  }

  /** On CLOCK_BOOTTIME, to a hundredth of a second. */
  boottimeMs(): number {
    return Number((this.text('/proc/uptime') ?? '0').split(' ')[0]) * 1000;
  }

  /** The letter of proc(5); null for no such process. */
  processState(pid: number): string | null {
    // The name in parentheses may hold anything.
    return /\) (\S)/.exec(this.text(`/proc/${pid}/stat`) ?? '')?.[1] ?? null;
  }

  /** Who holds the flock(2) of a file or directory; looking takes no lock. */
  lockedBy(path: string): number | null {
    const { dev, ino } = statSync(path);
    // MAJOR:MINOR:INODE, the first two in hexadecimal (proc(5), locks).
    const hex = (part: number) => part.toString(16).padStart(2, '0');
    const major = (dev >>> 8) & 0xfff;
    const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
    const place = `${hex(major)}:${hex(minor)}:${ino}`;
    for (const line of (this.text('/proc/locks') ?? '').split('\n')) {
      const [, kind, , , pid, where] = line.trim().split(/\s+/);
      if (kind === 'FLOCK' && where === place) return Number(pid);
    }
    return null;
  }
}
