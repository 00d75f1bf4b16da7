// A node in health, for the checks to find nothing wrong with: its files, and what the
// kernel would say of the dataplane on it.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { counterNames } from '../../src/lib/dataplane/counters.js';
import { programNames } from '../../src/lib/dataplane/programs.js';
import { mapNames, schemaWord } from '../../src/lib/dataplane/plane.js';
import { neededPermissions, type ClusterSeen } from '../../src/lib/doctor/cluster.js';
import { Latencies } from '../../src/lib/kubernetes/latencies.js';
import type { ClusterStatus } from '../../src/lib/kubernetes/status.js';
import type { Machine } from '../../src/lib/doctor/machine.js';
import type { Observed, Plane } from '../../src/lib/doctor/observed.js';

const psi =
  'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n';

const files: Readonly<Record<string, string>> = {
  '/proc/self/status': 'Name:\tnode\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n',
  '/proc/self/limits':
    'Max locked memory         unlimited            unlimited            bytes\n',
  '/proc/self/mountinfo':
    '30 20 0:20 / /sys/fs/bpf rw - bpf bpf rw\n31 20 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
  '/proc/sys/kernel/osrelease': '6.1.0-18-amd64\n',
  '/proc/sys/net/core/bpf_jit_enable': '1\n',
  '/proc/sys/net/core/bpf_jit_harden': '0\n',
  '/proc/sys/kernel/bpf_stats_enabled': '0\n',
  '/sys/devices/system/clocksource/clocksource0/current_clocksource': 'tsc\n',
  '/sys/kernel/btf/vmlinux': '',
  '/sys/kernel/security/lockdown': '[none] integrity confidentiality\n',
  '/proc/pressure/cpu': psi,
  '/proc/pressure/memory': psi,
  '/proc/pressure/io': psi,
  '/proc/meminfo': 'MemTotal:       8000000 kB\nMemAvailable:   6000000 kB\n',
  '/proc/loadavg': '0.00 0.00 0.00 1/300 4000\n',
  '/proc/sys/kernel/pid_max': '4194304\n',
  '/proc/sys/kernel/threads-max': '60000\n',
  '/proc/sys/fs/file-nr': '1000\t0\t100000\n',
  '/proc/sys/net/netfilter/nf_conntrack_count': '10\n',
  '/proc/sys/net/netfilter/nf_conntrack_max': '65536\n',
  '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
};

const links: Readonly<Record<string, string>> = {
  '/proc/self/ns/user': 'user:[4026531837]',
  '/proc/self/ns/cgroup': 'cgroup:[4026531835]',
};

/** The files of a node in health below `root`. */
export function layFiles(root: string): void {
  for (const [path, text] of Object.entries(files)) plantFile(root, path, text);
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(target, join(root, path));
  }
}

export function plantFile(root: string, path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const unhurried = new Latencies().summary();
const watched = { synced: true, heardAgoMs: 900, lists: 1, watches: 3, failures: 0, problem: null };

/** Of an agent that is in step with its cluster. */
export const healthyFollowing: ClusterStatus = {
  schemaVersion: 1,
  server: 'https://192.0.2.1:6443',
  node: 'node-a',
  synced: true,
  watches: [
    { ...watched, resource: 'services', state: 'watching' },
    { ...watched, resource: 'endpointslices', state: 'watching' },
  ],
  services: 3,
  slices: 4,
  routes: 2,
  oldestUnappliedMs: null,
  programming: unhurried,
  applying: unhurried,
  skipped: [],
  hints: [],
  events: { written: 0, dropped: 0 },
  requests: 17,
  progress: {},
};

export const healthyPlane: Plane = {
  schema: schemaWord,
  latency: 'first-byte',
  field: {
    epoch: 8n,
    heldEpoch: 8n,
    activeTable: 'A',
    heartbeatAgeMs: 80,
    failsafeMode: 'normal',
    tableEpochs: [8n, 7n],
    projectionHeldMs: 0,
    agentPid: 42,
    regime: 1,
  },
  agent: {
    lockedBy: 42,
    processState: 'S',
    startedAgoMs: 60_000,
    report: {
      schemaVersion: 1,
      pid: 42,
      version: '1.2.3',
      rejected: [],
      sequence: 300,
      agoMs: 80,
      tookMs: 2,
      outcome: 'unchanged',
      node: {
        regime: 'laminar',
        exhaustion: null,
        stalledTicks: 0,
        stalledNow: false,
        missing: [],
      },
      routes: [],
      knobs: { tickMs: 200 },
    },
    cluster: healthyFollowing,
  },
  routes: [
    {
      ...{ name: 'shop/cart:http', addresses: 1, backends: 4, isolated: 1 },
      ...{ enforcedPercent: 100, override: null },
    },
  ],
  faults: { retired: [], astray: [], ranges: [], fallbacks: [], miscounted: 0, addresses: [] },
  use: {
    addresses: { used: 1, capacity: 100 },
    routes: { used: 1, capacity: 100 },
    backends: { used: 4, capacity: 100 },
    slots: { used: 64, capacity: 1024 },
  },
  counters: Object.fromEntries(counterNames.map((name) => [name, 0n])) as Plane['counters'],
};

const healthyCluster: ClusterSeen = {
  server: 'https://192.0.2.1:6443',
  api: { kind: 'read', value: { version: 'v1.36.0', tookMs: 3 } },
  aheadMs: 0,
  permissions: {
    kind: 'read',
    value: neededPermissions.map((permission) => ({ permission, allowed: true })),
  },
  unmatchedPorts: { kind: 'read', value: { ports: [], ofFirst: null } },
};

export function healthy(machine: Machine): Observed {
  const tag = (program: string) => `tag-of-${program}`;
  const shape = { keySize: 4, valueSize: 8 };
  return {
    version: '1.2.3',
    privilege: machine.privilege(),
    kernel: machine.kernel(),
    mounts: machine.mounts('/sys/fs/bpf/nity', 'bpf'),
    pins: {
      kind: 'read',
      value: {
        maps: mapNames.map((name, i) => ({ name, id: 100 + i, ...shape })),
        links: programNames.map((program, i) => ({
          program,
          programId: 200 + i,
          attachType: i,
          cgroupId: 1n,
          tag: tag(program),
          running: { jited: true, loadedBoottimeNs: 1n, mapIds: [100, 101] },
        })),
        foreign: [],
      },
    },
    programAges: programNames.map((program) => ({ program, loadedAgoMs: 61_000 })),
    leftovers: [],
    cgroup: { kind: 'read', value: { path: '/sys/fs/cgroup', id: 1n } },
    attachedTo: new Map([[1n, '/sys/fs/cgroup']]),
    hooks: {
      kind: 'read',
      value: programNames.map((program, i) => ({
        program,
        order: [{ id: 200 + i, name: program.slice(0, 15) }],
      })),
    },
    below: { kind: 'read', value: [] },
    build: {
      kind: 'read',
      value: {
        tags: Object.fromEntries(programNames.map((name) => [name, tag(name)])),
        maps: mapNames.map((name) => ({ name, ...shape })),
      },
    },
    sockets: 'listed',
    plane: { kind: 'read', value: healthyPlane },
    sensors: machine.sensors(1),
    cluster: healthyCluster,
    kubeProxyMode: 'nftables',
  };
}
