// Every metric there is: name, type, meaning, and the closed list of what each label
// may say. The registry is made from it, the page of metrics is generated from it, and
// the bound on the number of series is computed from it. No label names a backend, a
// pod or an address (RFC 0010).
import type { Tick } from '../agent/agent.js';
import { counterNames, type CounterName } from '../dataplane/counters.js';
import { boundedTables } from '../dataplane/table-use.js';
import type { Cause, Change } from '../field/reasons.js';
import { exhaustibles, stallResources } from '../field/signals.js';
import type { HintKind } from '../kubernetes/hints.js';
import { latencyBoundsMs } from '../kubernetes/latencies.js';
import type { SkipReason } from '../kubernetes/service-routes.js';
import type { WatchState } from '../kubernetes/watch.js';
import {
  admissionModes,
  regimes,
  type BackendState,
  type IsolationCause,
} from '../field/states.js';
import type { RouteField } from '../field/types.js';

/** A label whose values are not known beforehand, but how many there may be at once is. */
export interface OpenLabel {
  readonly atMost: number;
}

export type LabelValues = readonly string[] | OpenLabel;

export interface Metric {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labels: Readonly<Record<string, LabelValues>>;
  /** Upper bounds, of a histogram. */
  readonly buckets?: readonly number[];
  /** The most series, where that is fewer than its labels' values allow. */
  readonly atMost?: number;
}

/** The keys of a record that must name each member of a union, and nothing else. */
function each<T extends string>(names: Readonly<Record<T, true>>): readonly T[] {
  return Object.keys(names) as T[];
}

export const outcomes = each<Tick['outcome']['kind']>({
  projected: true,
  unchanged: true,
  followed: true,
  held: true,
  busy: true,
  late: true,
  unsafe: true,
});

export const causes = each<Cause['kind']>({
  latency: true,
  errors: true,
  queue: true,
  silence: true,
  isolation: true,
  drip: true,
  recovery: true,
  ttf: true,
  stall: true,
  capacity: true,
  conductance: true,
  guard: true,
  churn: true,
  override: true,
  systemic: true,
  failsafe: true,
});

export const changes = each<Change['of']>({
  slots: true,
  admission: true,
  regime: true,
  override: true,
  hold: true,
});

export const backendStates = each<BackendState>({ healthy: true, degraded: true, isolated: true });
export const isolationCauses = each<IsolationCause>({
  errors: true,
  latency: true,
  silence: true,
});
export const scaleHints = each<NonNullable<RouteField['scaleHint']>>({
  monopoly: true,
  systemic: true,
  conductance: true,
  capacity: true,
  empty: true,
});
export const enforcedParts = ['part', 'none'] as const;
export const failsafeModes = ['normal', 'hold', 'fallback'] as const;
export const inputs = ['services', 'knobs'] as const;
export const watchStates = each<WatchState>({
  listing: true,
  watching: true,
  waiting: true,
  stopped: true,
});
export const skipReasons = each<SkipReason>({
  protocol: true,
  family: true,
  sourceRanges: true,
  ipMode: true,
  backends: true,
  itself: true,
  taken: true,
  agentApi: true,
  room: true,
});
const hintKinds = each<HintKind>({
  monopoly: true,
  hard: true,
  soft: true,
  capacity: true,
});
export const sensors = [...stallResources.map((name) => `psi ${name}`), ...exhaustibles];

export interface CountedAs {
  readonly name: CounterName;
  /** pickedTwin is "twin" of its family. */
  readonly value: string;
}

/** The kernel's counters of one family: a new one in the contract appears by itself. */
export function family(prefix: 'picked' | 'refused' | 'ended' | 'noted'): readonly CountedAs[] {
  return counterNames
    .filter((name) => name.startsWith(prefix) && name !== 'notedEstablished')
    .map((name) => ({ name, value: snake(name.slice(prefix.length)) }));
}

function snake(name: string): string {
  return name.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

/** Routes in trouble that are named; there may be more, and these are the worst. */
export const namedRoutes = 20;

const tickSeconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
const changeSeconds = latencyBoundsMs.map((ms) => ms / 1000);
/** The octaves of the kernel's histogram, from 65 µs to 137 s. */
const firstByteSeconds = Array.from({ length: 22 }, (_, octave) => 2 ** (16 + octave) / 1e9);

function counter<L extends Metric['labels']>(name: string, help: string, labels: L) {
  return { type: 'counter', name, help, labels } as const;
}

function gauge<L extends Metric['labels']>(name: string, help: string, labels: L) {
  return { type: 'gauge', name, help, labels } as const;
}

function histogram(name: string, help: string, buckets: readonly number[]) {
  return { type: 'histogram', name, help, labels: {}, buckets } as const;
}

export const catalogue = {
  // The agent itself.
  build: {
    ...gauge('nity_build_info', 'Always 1; its labels say what runs.', {
      version: { atMost: 1 },
      schema: { atMost: 1 },
      node: { atMost: 1 },
    }),
    atMost: 1,
  },
  ticks: counter('nity_ticks_total', 'Ticks, by what became of their field.', {
    outcome: outcomes,
  }),
  tickSeconds: histogram(
    'nity_tick_duration_seconds',
    'How long a tick took, from its first reading to its last write.',
    tickSeconds,
  ),
  lagSeconds: histogram(
    'nity_tick_lag_seconds',
    'How late the event loop called a tick.',
    tickSeconds,
  ),
  inputRejected: gauge(
    'nity_input_rejected',
    '1 while the last good services or knobs stay in force because the newest were refused.',
    { input: inputs },
  ),

  // The field, as the kernel holds it.
  epoch: gauge('nity_epoch', 'Epoch of the newest flip; its parity names the table.', {}),
  heldEpoch: gauge('nity_held_epoch', 'Newest epoch that a heartbeat confirmed.', {}),
  heartbeatAge: gauge(
    'nity_heartbeat_age_seconds',
    'Age of the heartbeat that the kernel judges the agent by.',
    {},
  ),
  failsafe: gauge('nity_failsafe_mode', '1 for the failsafe mode that the kernel is in.', {
    mode: failsafeModes,
  }),
  projectionHeld: gauge(
    'nity_projection_held_seconds',
    'How much longer an operator’s flip keeps the agent from projecting.',
    {},
  ),
  changes: counter('nity_changes_total', 'Changes of the field, by what changed and why.', {
    change: changes,
    cause: causes,
  }),
  slotsMoved: counter('nity_slots_moved_total', 'Slots given to another backend, by why.', {
    cause: causes,
  }),

  // Decisions, as the kernel counts them. They outlive the agent.
  picked: counter('nity_connects_picked_total', 'Connects that got a backend, by how.', {
    by: family('picked').map(({ value }) => value),
  }),
  refused: counter('nity_connects_refused_total', 'Connects refused, by why.', {
    reason: family('refused').map(({ value }) => value),
  }),
  established: counter('nity_connections_established_total', 'Connections established.', {}),
  ended: counter('nity_connections_ended_total', 'Connections that ended, by how.', {
    how: family('ended').map(({ value }) => value),
  }),
  noted: counter('nity_decisions_noted_total', 'Facts worth noticing on the way to a decision.', {
    what: family('noted').map(({ value }) => value),
  }),
  firstByte: histogram(
    'nity_first_byte_seconds',
    'First request byte to first response byte, of the requests that were measured.',
    firstByteSeconds,
  ),
  open: gauge('nity_open_connections', 'Mean of open connections over the last tick.', {}),
  waiting: gauge('nity_waiting_requests', 'Measured first requests without an answer yet.', {}),

  // Routes and backends, counted by what the law says of them.
  routesByRegime: gauge(
    'nity_routes',
    'Routes, by regime; one on which nothing is enforced is laminar.',
    { regime: regimes },
  ),
  routesByMode: gauge(
    'nity_routes_by_admission_mode',
    'Routes, by the admission mode in force: the operator’s where there is one.',
    { mode: admissionModes },
  ),
  routesOverridden: gauge('nity_routes_overridden', 'Routes under an operator’s override.', {
    mode: admissionModes,
  }),
  routesWithoutBackends: gauge('nity_routes_without_backends', 'Routes without a backend.', {}),
  routesMoving: gauge('nity_routes_moving', 'Routes whose slots are on their way.', {}),
  routesSystemic: gauge(
    'nity_routes_systemic',
    'Routes most of whose backends would be isolated, so that none is.',
    {},
  ),
  scaleHints: gauge('nity_routes_wanting_scale', 'Routes that more replicas would help, by why.', {
    why: scaleHints,
  }),
  trouble: {
    ...gauge(
      'nity_route_trouble',
      `1 for each of the worst routes that are not laminar and open; at most ${namedRoutes}.`,
      { route: { atMost: namedRoutes }, regime: regimes, mode: admissionModes },
    ),
    atMost: namedRoutes,
  },
  routesObserved: gauge(
    'nity_routes_observed',
    'Routes on which not all is enforced; part: on some of the connects, none: on no connect.',
    { enforced: enforcedParts },
  ),
  enforced: {
    ...gauge(
      'nity_route_enforced_ratio',
      `Part of the connects that is enforced, of the routes with the least; at most ${namedRoutes}.`,
      { route: { atMost: namedRoutes } },
    ),
    atMost: namedRoutes,
  },
  observedRefusals: counter(
    'nity_observed_refusals_total',
    'Connects that went through because their route is observed, and that its valve would have refused.',
    {},
  ),
  observedIsolations: counter(
    'nity_observed_isolations_total',
    'Isolations of backends that were not enforced on every connect, because their route is observed.',
    {},
  ),
  backendsObserved: gauge(
    'nity_backends_observed',
    'Backends of routes on which nothing is enforced, by the state that they would have.',
    { state: backendStates },
  ),
  backends: gauge('nity_backends', 'Backends, by state.', { state: backendStates }),
  isolated: gauge('nity_backends_isolated', 'Isolated backends, by why.', {
    cause: isolationCauses,
  }),
  conductance: gauge(
    'nity_conductance_ratio_min',
    'Least conductance of a route, relative to a healthy one’s.',
    {},
  ),
  skew: gauge('nity_skew_ratio_max', 'Largest skew of a route.', {}),
  guard: gauge(
    'nity_guard_ratio_min',
    'Least part of the viscosity’s limit that a guard leaves.',
    {},
  ),

  // The node.
  stall: gauge('nity_node_stall_ratio', 'Share of the last tick in which tasks stalled (PSI).', {
    resource: stallResources,
    kind: ['some', 'full'],
  }),
  stalled: gauge('nity_node_stalled', '1 while the last tick counts as a stall.', {}),
  used: gauge('nity_node_used_ratio', 'How much of a limit of the node is used.', {
    resource: exhaustibles,
  }),
  exhaustion: {
    ...gauge(
      'nity_node_exhaustion_seconds',
      'Time to failure of the resource that is exhausted first; absent while none is near.',
      { resource: exhaustibles },
    ),
    atMost: 1,
  },
  sensorUp: gauge('nity_sensor_up', '1 while a sensor of the node can be read.', {
    sensor: sensors,
  }),
  tableUsed: gauge('nity_table_entries', 'Entries in use of a table that can be full.', {
    table: boundedTables,
  }),
  tableCapacity: gauge('nity_table_capacity', 'Entries that such a table has.', {
    table: boundedTables,
  }),

  // The cluster; absent without one.
  clusterSynced: gauge(
    'nity_cluster_synced',
    '1 once every list was complete and what it said is in the kernel.',
    {},
  ),
  clusterUnapplied: gauge(
    'nity_cluster_unapplied_seconds',
    'Age of the oldest change that was heard of and is not in the kernel; 0 without one.',
    {},
  ),
  clusterWatches: gauge('nity_cluster_watches', 'Watches of the API server, by what they do.', {
    state: watchStates,
  }),
  clusterServices: gauge('nity_cluster_services', 'Services that are selected.', {}),
  clusterSkipped: gauge(
    'nity_cluster_skipped',
    'Ports and addresses of Services that are left for kube-proxy, by why.',
    { reason: skipReasons },
  ),
  clusterRequests: counter(
    'nity_cluster_requests_total',
    'Requests that were sent to the API server.',
    {},
  ),
  clusterEvents: counter(
    'nity_cluster_events_total',
    'Kubernetes Events, by what became of them.',
    {
      outcome: ['written', 'dropped'],
    },
  ),
  clusterHints: {
    ...gauge(
      'nity_cluster_scale_hint',
      `1 while a Service could do with more replicas, by why; at most ${namedRoutes}.`,
      { service: { atMost: namedRoutes }, why: hintKinds },
    ),
    atMost: namedRoutes,
  },
  clusterProgramming: histogram(
    'nity_cluster_programming_seconds',
    'From the change of an endpoint in the cluster to the kernel: Kubernetes’ own indicator.',
    changeSeconds,
  ),
  clusterApplying: histogram(
    'nity_cluster_applying_seconds',
    'From hearing of a change to the kernel.',
    changeSeconds,
  ),
} as const satisfies Readonly<Record<string, Metric>>;

/** The most series that a metric can have at once. */
export function mostSeries({ labels, buckets, atMost }: Metric): number {
  if (atMost !== undefined) return atMost;
  const combinations = Object.values(labels).reduce(
    (product, values) => product * ('atMost' in values ? values.atMost : values.length),
    1,
  );
  // Of a histogram also the bucket +Inf, the sum and the count.
  return combinations * (buckets === undefined ? 1 : buckets.length + 3);
}
