// What the checks make of faults that a shared machine cannot be given: files of another
// kernel, another boot, another container. Each is planted in a tree of files, or in what
// was observed, and every other check goes on finding nothing wrong.
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { groups, type Status } from '../../src/lib/doctor/check.js';
import { examine, judge, rules } from '../../src/lib/doctor/doctor.js';
import { Machine } from '../../src/lib/doctor/machine.js';
import type { AgentSeen, Observed, Plane } from '../../src/lib/doctor/observed.js';
import { healthy, healthyPlane, layFiles, plantFile } from './healthy.js';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'nity-doctor-'));
  layFiles(root);
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

const wrong = (observed: Observed) =>
  examine(observed)
    .filter(({ status }) => status !== 'ok')
    .map(({ id, status, seen }) => [id, status, seen]);

const withAgent = (agent: Partial<AgentSeen>): Observed =>
  withPlane({ agent: { ...healthyPlane.agent, ...agent } });

function withPlane(plane: Partial<Plane>): Observed {
  return {
    ...healthy(new Machine(root)),
    plane: { kind: 'read', value: { ...healthyPlane, ...plane } },
  };
}

describe('a node in health', () => {
  it('passes every check there is, and none is left out', () => {
    const checks = examine(healthy(new Machine(root)));
    expect(checks.map(({ id }) => id)).toEqual(rules.map(({ id }) => id));
    expect(wrong(healthy(new Machine(root)))).toEqual([]);
  });
});

describe('a fault in the files of the node', () => {
  const files: readonly (readonly [string, string, string, Status, string])[] = [
    ['/proc/sys/net/core/bpf_jit_enable', '0', 'NITY022', 'fail', 'off'],
    [
      '/proc/sys/net/core/bpf_jit_enable',
      '2',
      'NITY022',
      'warn',
      'on, and writing every program to the log',
    ],
    ['/proc/sys/net/core/bpf_jit_harden', '2', 'NITY023', 'warn', 'on for everybody'],
    ['/proc/sys/kernel/bpf_stats_enabled', '1', 'NITY025', 'warn', 'on'],
    [
      '/sys/devices/system/clocksource/clocksource0/current_clocksource',
      'hpet',
      'NITY024',
      'warn',
      'hpet',
    ],
    [
      '/sys/kernel/security/lockdown',
      'none integrity [confidentiality]',
      'NITY012',
      'fail',
      'confidentiality',
    ],
    [
      '/proc/self/status',
      'Uid:\t0\t0\t0\t0\nCapEff:\t0000000000001000\n',
      'NITY010',
      'fail',
      'uid 0 lacks CAP_BPF, CAP_PERFMON',
    ],
    ['/proc/sys/net/netfilter/nf_conntrack_count', '60000', 'NITY092', 'warn', 'conntrack 92 %'],
    [
      '/proc/meminfo',
      'MemTotal: nonsense\n',
      'NITY091',
      'warn',
      'memory: /proc/meminfo does not have the form that is known',
    ],
    [
      '/proc/pressure/io',
      'nonsense',
      'NITY090',
      'warn',
      'io: the io pressure file does not have the form of PSI',
    ],
  ];
  it.each(files)('%s saying %j is %s', (path, text, id, status, seen) => {
    plantFile(root, path, text);
    expect(wrong(healthy(new Machine(root)))).toEqual([[id, status, seen]]);
  });

  it('PSI that was disabled at boot', () => {
    rmSync(join(root, '/proc/pressure'), { recursive: true });
    const [found, ...more] = wrong(healthy(new Machine(root)));
    expect(found?.slice(0, 2)).toEqual(['NITY090', 'warn']);
    expect(found?.[2]).toContain('memory: the kernel has no PSI');
    expect(more).toEqual([]);
  });

  it('a kernel without BTF', () => {
    rmSync(join(root, '/sys/kernel/btf/vmlinux'));
    expect(wrong(healthy(new Machine(root)))).toEqual([['NITY021', 'warn', 'absent']]);
  });

  it('a lockdown that cannot be read is neither a fault nor said to be none', () => {
    const lockdown = () =>
      examine(healthy(new Machine(root))).find(({ id }) => id === 'NITY012')?.seen;
    const security = join(root, '/sys/kernel/security');
    rmSync(join(security, 'lockdown'));
    // Empty, as in a container: securityfs is not mounted there.
    expect(wrong(healthy(new Machine(root)))).toEqual([]);
    expect(lockdown()).toMatch(/^not known, it could not be read: no securityfs is mounted/);
    rmSync(security, { recursive: true });
    expect(lockdown()).toMatch(/^not known, it could not be read: there is no /);
    plantFile(root, '/sys/kernel/security/lockdown', 'something else');
    expect(lockdown()).toMatch(/^not known, it could not be read: .* form that is known$/);
    expect(wrong(healthy(new Machine(root)))).toEqual([]);
    // Mounted, and without the file: a kernel that cannot be locked down.
    rmSync(join(security, 'lockdown'));
    plantFile(
      root,
      '/proc/self/mountinfo',
      '32 20 0:7 / /sys/kernel/security rw - securityfs securityfs rw\n',
    );
    expect(lockdown()).toBe('the kernel has no lockdown');
  });

  it('connection tracking that is not loaded is no fault', () => {
    rmSync(join(root, '/proc/sys/net/netfilter'), { recursive: true });
    expect(wrong(healthy(new Machine(root)))).toEqual([]);
  });

  it('namespaces of a container', () => {
    for (const [name, target] of [
      ['user', 'user:[4026532000]'],
      ['cgroup', 'cgroup:[4026532001]'],
    ] as const) {
      rmSync(join(root, '/proc/self/ns', name));
      symlinkSync(target, join(root, '/proc/self/ns', name));
    }
    const below = { kind: 'read', value: { path: '/sys/fs/cgroup/pod', id: 4711n } } as const;
    const found = wrong({ ...healthy(new Machine(root)), cgroup: below });
    expect(found).toContainEqual(['NITY011', 'fail', 'another one']);
    expect(found).toContainEqual(['NITY032', 'warn', 'another one']);
    // A pod that mounts the host's hierarchy attaches to its root all the same.
    expect(wrong(healthy(new Machine(root)))).toEqual([['NITY011', 'fail', 'another one']]);
  });

  it('a limit of locked memory, only where the kernel goes by it', () => {
    plantFile(root, '/proc/self/limits', 'Max locked memory         65536      65536      bytes\n');
    expect(wrong(healthy(new Machine(root)))).toEqual([]);
    plantFile(root, '/proc/sys/kernel/osrelease', '5.10.0-30-amd64');
    expect(wrong(healthy(new Machine(root)))).toEqual([
      ['NITY013', 'fail', '64 KiB'],
      ['NITY020', 'fail', '5.10.0-30-amd64'],
    ]);
  });

  it('CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON', () => {
    // Bits 12 (CAP_NET_ADMIN) and 21 (CAP_SYS_ADMIN).
    plantFile(root, '/proc/self/status', 'Uid:\t0\t0\t0\t0\nCapEff:\t0000000000201000\n');
    expect(wrong(healthy(new Machine(root)))).toEqual([]);
  });
});

describe('a fault in what was observed', () => {
  it('an agent of another version', () => {
    const { report } = healthyPlane.agent;
    if (report === null) throw new Error('the agent of a node in health reports');
    expect(wrong(withAgent({ report: { ...report, version: '1.2.2' } }))).toEqual([
      ['NITY065', 'warn', '1.2.2, and this is 1.2.3'],
    ]);
    expect(wrong(withAgent({ report: { ...report, tookMs: 450 } }))).toEqual([
      ['NITY063', 'warn', '450.0 ms of 200 ms'],
    ]);
    expect(wrong(withAgent({ report: { ...report, agoMs: 4_000 } }))).toEqual([
      ['NITY063', 'fail', 'none for 4.0 s'],
    ]);
  });

  it('a route without backends, which a cluster has every day', () => {
    const [route, ...others] = healthyPlane.routes;
    if (route === undefined) throw new Error('a node in health has a route');
    const routes = [{ ...route, backends: 0, isolated: 0 }, ...others];
    const fromFile = { ...healthyPlane.agent, cluster: null };
    expect(wrong(withPlane({ routes }))).toEqual([['NITY075', 'warn', 'shop/cart:http']]);
    expect(wrong(withPlane({ routes, agent: fromFile }))).toEqual([
      ['NITY075', 'fail', 'shop/cart:http'],
    ]);
  });

  it('a route that is only observed is named, and is none', () => {
    const [route] = healthyPlane.routes;
    if (route === undefined) throw new Error('a node in health has a route');
    const seen = (enforcedPercent: number) => {
      const observed = withPlane({ routes: [{ ...route, enforcedPercent }] });
      expect(wrong(observed)).toEqual([]);
      return examine(observed).find(({ id }) => id === 'NITY082')?.seen;
    };
    expect(seen(0)).toBe('shop/cart:http observe');
    expect(seen(25)).toBe('shop/cart:http 25%');
    expect(seen(100)).toBe('none: all is enforced');
  });

  it('an agent that was stopped in order, long ago', () => {
    const field = { ...healthyPlane.field, agentPid: null, heartbeatAgeMs: 90_000 };
    const agent = {
      ...healthyPlane.agent,
      lockedBy: null,
      processState: null,
      report: null,
      cluster: null,
    };
    expect(wrong(withPlane({ field: { ...field, failsafeMode: 'fallback' }, agent }))).toEqual([
      ['NITY060', 'fail', 'fallback, 90 s old'],
      ['NITY061', 'warn', 'it was stopped in order'],
    ]);
  });

  it('a held epoch whose table is gone counts only while decisions go by it', () => {
    const field = { ...healthyPlane.field, heldEpoch: 7n, tableEpochs: [8n, 0n] as const };
    expect(wrong(withPlane({ field }))).toEqual([]);
    const held = { ...field, failsafeMode: 'hold', heartbeatAgeMs: 4_000 } as const;
    expect(wrong(withPlane({ field: held })).map(([id]) => id)).toEqual(['NITY060', 'NITY070']);
  });

  it('a kernel that refuses to list its sockets, and says so itself', () => {
    const sockets = { kind: 'refused', cause: 'a policy refuses', advice: 'Nothing.' } as const;
    const observed = { ...healthy(new Machine(root)), sockets };
    expect(wrong(observed)).toEqual([
      [
        'NITY027',
        'warn',
        'open counts are not compared with the sockets, `nity inspect conntrack` shows none: a policy refuses',
      ],
    ]);
    expect(examine(observed).find(({ id }) => id === 'NITY027')?.hint).toBe('Nothing.');
    // Who may load nothing at all learns that, and nothing of sockets.
    const build = { kind: 'missing', why: 'EPERM' } as const;
    expect(wrong({ ...observed, build })).toEqual([['NITY026', 'fail', 'EPERM']]);
  });

  it('programs that were loaded while the JIT was off', () => {
    const observed = healthy(new Machine(root));
    if (observed.pins.kind === 'missing' || observed.pins.value === null) throw new Error('pins');
    const links = observed.pins.value.links.map((link) => ({
      ...link,
      running: { jited: false, loadedBoottimeNs: 1n, mapIds: [100] },
    }));
    const pins = { kind: 'read', value: { ...observed.pins.value, links } } as const;
    expect(wrong({ ...observed, pins })).toEqual([
      ['NITY045', 'fail', 'nity_sock_release, nity_sockops, nity_ingress and 4 more interpreted'],
    ]);
  });

  it('programs in two cgroups', () => {
    const observed = healthy(new Machine(root));
    if (observed.pins.kind === 'missing' || observed.pins.value === null) throw new Error('pins');
    const links = observed.pins.value.links.map((link, i) =>
      i === 0 ? { ...link, cgroupId: 9n } : link,
    );
    const pins = { kind: 'read', value: { ...observed.pins.value, links } } as const;
    expect(wrong({ ...observed, pins })).toEqual([
      ['NITY043', 'fail', 'programs are attached to cgroup 9, /sys/fs/cgroup'],
    ]);
  });

  it('a kernel that does not accept this build bars everything: exit code 3', () => {
    const observed = {
      ...healthy(new Machine(root)),
      build: { kind: 'missing', why: 'invalid argument' },
    } as const;
    expect(wrong(observed)).toEqual([['NITY026', 'fail', 'invalid argument']]);
    expect(judge(examine(observed), 'fail')).toMatchObject({ ok: false, exitCode: 3 });
  });

  it('another minor of the schema is read, with a warning', () => {
    expect(wrong(withPlane({ schema: healthyPlane.schema + 1 }))).toEqual([
      ['NITY051', 'warn', '2.1'],
    ]);
  });
});

describe('the catalogue of checks', () => {
  it('has an identifier for each, groups in order, and a sentence for all that is told', () => {
    const ids = rules.map(({ id }) => id);
    expect(ids).toEqual([...ids].sort());
    expect(new Set(ids).size).toBe(ids.length);
    const order = rules.map(({ group }) => groups.indexOf(group));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    for (const { id, hint, about, expected } of rules) {
      expect(id).toMatch(/^NITY\d{3}$/);
      for (const text of [hint, about]) expect(text, id).toMatch(/^[A-Z0-9“].*[.)]$/);
      expect(expected, id).not.toBe('');
    }
  });

  it('counts what was found, and lets warnings pass unless they are asked for', () => {
    plantFile(root, '/proc/sys/net/core/bpf_jit_harden', '2');
    const checks = examine(healthy(new Machine(root)));
    expect(judge(checks, 'fail')).toEqual({
      ok: true,
      exitCode: 0,
      counts: { ok: rules.length - 1, warn: 1, fail: 0 },
    });
    expect(judge(checks, 'warn')).toMatchObject({ ok: false, exitCode: 1 });
  });
});
