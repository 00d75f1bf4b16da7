// The machine as the probe found it: plain values, so that a test can plant any fault.
// A part that could not be read says why; null is what is not there.
import type { Report } from '../agent/report.js';
import type { FieldStatus } from '../dataplane/control.js';
import type { CounterName } from '../dataplane/counters.js';
import type { FieldFaults } from '../dataplane/field-faults.js';
import type { BelowHook, Hook, SeenBuild, SeenPins } from '../dataplane/inspection.js';
import type { SocketsRefused } from '../dataplane/sockets.js';
import type { Leftover } from '../dataplane/staging.js';
import type { BoundedTable, TableUse } from '../dataplane/table-use.js';
import type { ClusterStatus } from '../kubernetes/status.js';
import type { ClusterSeen, KubeProxyMode } from './cluster.js';
import type { StallTotals } from '../sensors/psi.js';
import type { Exhaustible, Reading, StallResource, Usage } from '../field/signals.js';

export interface Privilege {
  readonly uid: number;
  /** Of this process; the names as capabilities(7) has them. */
  readonly capabilities: ReadonlySet<string>;
  readonly initialUserNamespace: boolean;
  /**
   * What the kernel is locked down to: "none", "integrity", "confidentiality"; null for a kernel
   * without lockdown. A container seldom sees the file system that tells it.
   */
  readonly lockdown: Reading<string | null>;
  /** RLIMIT_MEMLOCK; null for no limit. */
  readonly memlockBytes: number | null;
}

export interface Kernel {
  readonly release: string;
  /** net.core.bpf_jit_enable; null where the kernel has no such knob. */
  readonly jit: number | null;
  readonly jitHarden: number | null;
  /** kernel.bpf_stats_enabled. */
  readonly stats: number | null;
  readonly clockSource: string | null;
  readonly btf: boolean;
}

export interface Mounts {
  readonly pinPath: string;
  /** Of the pin path, or of what will hold it. */
  readonly pinFileSystem: 'bpf' | 'cgroup2' | 'other' | 'nothing';
  /** Mount points. */
  readonly bpffs: readonly string[];
  readonly cgroup2: readonly string[];
  readonly initialCgroupNamespace: boolean;
}

export interface Place {
  readonly path: string;
  readonly id: bigint;
}

export interface AgentSeen {
  /** Who holds the agent's lock; null: nobody. */
  readonly lockedBy: number | null;
  /** Of the agent that the field names, if it exists: "R", "S", "T", … of proc(5). */
  readonly processState: string | null;
  readonly startedAgoMs: number;
  /** What it says of itself; null: nothing. */
  readonly report: Report | null;
  /** How it is with its cluster; null: it follows none, or says nothing. */
  readonly cluster: ClusterStatus | null;
}

export interface RouteSeen {
  readonly name: string;
  readonly addresses: number;
  readonly backends: number;
  readonly isolated: number;
  /** Of a hundred connects, those on which what is judged of backends is acted. */
  readonly enforcedPercent: number;
  readonly override: { readonly mode: string; readonly remainingMs: number } | null;
}

/** What the maps say. */
export interface Plane {
  /** major * 65536 + minor. */
  readonly schema: number;
  readonly latency: 'first-byte' | 'connect';
  readonly field: FieldStatus;
  readonly agent: AgentSeen;
  readonly routes: readonly RouteSeen[];
  readonly faults: FieldFaults;
  readonly use: Readonly<Record<BoundedTable, TableUse>>;
  readonly counters: Readonly<Record<CounterName, bigint>>;
}

export interface ProgramAge {
  readonly program: string;
  readonly loadedAgoMs: number;
}

export interface Sensors {
  readonly stalls: Readonly<Record<StallResource, Reading<StallTotals>>>;
  readonly usage: Readonly<Record<Exhaustible, Reading<Usage>>>;
}

export interface Observed {
  /** Of this nity. */
  readonly version: string;
  readonly privilege: Privilege;
  readonly kernel: Kernel;
  readonly mounts: Mounts;
  /** Null: nothing is pinned. */
  readonly pins: Reading<SeenPins | null>;
  readonly programAges: readonly ProgramAge[];
  readonly leftovers: readonly (Leftover & { readonly alive: boolean })[];
  /** Where the dataplane ought to be attached. */
  readonly cgroup: Reading<Place>;
  /** Where it is attached, if it could be found: by the identifier of its cgroup. */
  readonly attachedTo: ReadonlyMap<bigint, string>;
  readonly hooks: Reading<readonly Hook[]>;
  readonly below: Reading<readonly BelowHook[]>;
  readonly build: Reading<SeenBuild>;
  /** Whether the kernel lists the sockets that hold a flow. */
  readonly sockets: 'listed' | SocketsRefused;
  /** Null: not loaded. */
  readonly plane: Reading<Plane | null>;
  readonly sensors: Sensors;
  /** Null: no cluster is named. */
  readonly cluster: ClusterSeen | null;
  /** Not asked, and null, where no cluster is named and the agent follows none. */
  readonly kubeProxyMode: KubeProxyMode;
}
