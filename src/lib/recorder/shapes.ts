// The shapes of what a trace holds: the law's inputs, its memory, its field, its
// reasons. A column that is added to one of them later is wrapped in later().
import { defaultKnobs, knobSchema, type Knobs } from '../config/knobs.js';
import type { Cause, Change, Reason } from '../field/reasons.js';
import type { AppSummary, NodeSignals, Reading, Stall, Stalls, Usage } from '../field/signals.js';
import { admissionModes, regimes, type IsolationCause } from '../field/states.js';
import type {
  BackendField,
  BackendMemory,
  BackendSignals,
  Circuit,
  ClientSignals,
  Exhaustion,
  LaneMemory,
  LatencySample,
  Motion,
  NodeField,
  NodeMemory,
  Pressure,
  Reference,
  RouteField,
  RouteMemory,
  RouteSignals,
  UsagePoint,
  ValveField,
  ValveMemory,
  Waiting,
} from '../field/types.js';
import {
  bytes,
  flag,
  later,
  list,
  mapOf,
  nullable,
  number,
  oneOf,
  record,
  text,
  variants,
  type RecordShape,
  type Shape,
} from './shape.js';

/** What became of a tick's field. */
export const outcomeKinds = [
  'projected',
  'unchanged',
  'followed',
  'held',
  'busy',
  'late',
  'unsafe',
] as const;
export type OutcomeKind = (typeof outcomeKinds)[number];

const mode = oneOf('admissionMode', admissionModes);
const regime = oneOf('regime', regimes);
const state = oneOf('backendState', ['healthy', 'degraded', 'isolated'] as const);
const gear = oneOf('gear', ['single', 'twin', 'bounded'] as const);
const isolationCause: Shape<IsolationCause> = oneOf('isolationCause', [
  'errors',
  'latency',
  'silence',
] as const);
export const outcome = oneOf('outcome', outcomeKinds);

export const knobs = record<Knobs>(
  'knobs',
  Object.fromEntries(
    Object.keys(knobSchema).map((name) => [name, later(number, defaultKnobs[name as keyof Knobs])]),
  ) as { [K in keyof Knobs]: ReturnType<typeof later<number>> },
);

function reading<T extends object>(name: string, of: RecordShape<T>): Shape<Reading<T>> {
  type Read = Extract<Reading<T>, { kind: 'read' }>;
  return variants<'kind', Reading<T>>(name, 'kind', {
    read: record<Omit<Read, 'kind'>>(`${name}.read`, { value: of }),
    missing: record<{ readonly why: string }>(`${name}.missing`, { why: text }),
  });
}

const stall = reading('stall', record<Stall>('stall.value', { some: number, full: number }));
const stalls = record<Stalls>('stalls', { cpu: stall, memory: stall, io: stall });
const usage = reading('usage', record<Usage>('usage.value', { used: number, limit: number }));

export const nodeSignals = record<Omit<NodeSignals, 'stalls' | 'usage'> & FlatReadings>(
  'nodeSignals',
  {
    cpu: stall,
    memory: stall,
    io: stall,
    memoryUsage: usage,
    pids: usage,
    fileDescriptors: usage,
    conntrack: usage,
    ephemeralPorts: usage,
    cgroups: mapOf(stalls),
    loopLagMs: number,
  },
);

/** A node's readings side by side, so that each is written only when it changes. */
interface FlatReadings extends Stalls, Omit<NodeSignals['usage'], 'memory'> {
  readonly memoryUsage: Reading<Usage>;
}
export type FlatNode = Omit<NodeSignals, 'stalls' | 'usage'> & FlatReadings;

export function flatNode({ stalls: psi, usage: used, cgroups, loopLagMs }: NodeSignals): FlatNode {
  const { memory, pids, fileDescriptors, conntrack, ephemeralPorts } = used;
  return {
    ...psi,
    memoryUsage: memory,
    pids,
    fileDescriptors,
    conntrack,
    ephemeralPorts,
    cgroups,
    loopLagMs,
  };
}

export function deepNode({ cpu, memory, io, memoryUsage, ...rest }: FlatNode): NodeSignals {
  const { pids, fileDescriptors, conntrack, ephemeralPorts, cgroups, loopLagMs } = rest;
  return {
    stalls: { cpu, memory, io },
    usage: { memory: memoryUsage, pids, fileDescriptors, conntrack, ephemeralPorts },
    cgroups,
    loopLagMs,
  };
}

/** Of records that came later as a whole each column did. */
const clientSignals = record<ClientSignals>('clientSignals', {
  lane: later(number, 0),
  connects: later(number, 0),
  failures: later(number, 0),
  answers: later(number, 0),
  logSum: later(number, 0),
  unserved: later(number, 0),
  waiting: later(number, 0),
  working: later(number, 0),
});

export const backendSignals = record<BackendSignals>('backendSignals', {
  id: text,
  slots: number,
  picks: number,
  connects: number,
  failures: number,
  served: later(number, 0),
  unserved: later(number, 0),
  dropped: later(number, 0),
  consecutiveFailures: number,
  accusers: later(number, 0),
  openMean: nullable(number),
  connectUs: nullable(number),
  retransmits: number,
  firstByte: nullable(list(record<LatencySample>('sample', { us: number, count: number }))),
  waiting: nullable(
    record<Waiting>('waiting', {
      count: number,
      ageMs: number,
      answeredSince: flag,
    }),
  ),
  working: later(nullable(number), null),
  clients: later(list(clientSignals), []),
  dial: later(nullable(oneOf('dial', ['open', 'closed'] as const)), null),
  stalls: nullable(stalls),
  app: nullable(
    record<AppSummary>('app', {
      latencyP95Ms: nullable(number),
      errorRate: nullable(number),
      queueDepth: nullable(number),
    }),
  ),
});

/** A route's signals without its backends. */
export const routeSignals = record<Omit<RouteSignals, 'backends'>>('routeSignals', {
  name: text,
  slots: number,
  refused: number,
  clients: later(number, 1),
  override: nullable(mode),
  latencyReferenceUs: later(nullable(number), null),
});

const circuit = variants<'kind', Circuit>('circuit', 'kind', {
  admitted: record('circuit.admitted', { nextCooldownMs: number }),
  isolated: record('circuit.isolated', {
    cause: isolationCause,
    cooldownMs: number,
    remainingMs: number,
    probedForMs: nullable(number),
    isolatedForMs: later(number, 0),
    byOneClient: later(flag, false),
    distrustsDial: later(flag, false),
  }),
  returning: record('circuit.returning', { forMs: number, nextCooldownMs: number }),
});

const laneMemory = record<LaneMemory>('laneMemory', {
  lane: later(number, 0),
  connects: later(number, 0),
  failures: later(number, 0),
  answers: later(number, 0),
  logSum: later(number, 0),
  unserved: later(number, 0),
  working: later(number, 0),
  networkGood: later(number, 0),
  networkBad: later(number, 0),
  serviceGood: later(number, 0),
  serviceBad: later(number, 0),
});

const backendMemory = record<BackendMemory>('backendMemory', {
  open: nullable(number),
  working: later(nullable(number), null),
  connects: number,
  failures: number,
  served: later(number, 0),
  unserved: later(number, 0),
  retransmits: number,
  answers: number,
  logSum: number,
  logSquares: later(number, 0),
  slowestLog: later(nullable(number), null),
  ownLog: nullable(number),
  pathUs: nullable(number),
  pathReferenceUs: nullable(number),
  slow: later(number, 0),
  evidence: number,
  networkBits: later(number, 0),
  serviceBits: later(number, 0),
  accusedMs: later(number, 0),
  waitBits: later(number, 0),
  waitedLong: later(number, 0),
  picksSinceAnswer: later(number, 0),
  lanes: later(list(laneMemory), []),
  circuit,
  underway: later(flag, false),
});

/** Its field at rest is a record of its own: most routes have none. */
export const routeMemory = record<Omit<RouteMemory, 'rest'>>('routeMemory', {
  backends: mapOf(backendMemory),
  order: list(number),
  reference: record<Reference>('reference', {
    log: nullable(number),
    spread: number,
    ticks: number,
  }),
  moving: flag,
  offMs: later(number, 0),
  guard: number,
  skew: number,
  valve: record<ValveMemory>('valveMemory', {
    mode,
    inModeMs: number,
    calmMs: number,
    goodputPerSecond: nullable(number),
    offeredPerSecond: later(number, 0),
    unservedShare: later(number, 0),
    usualUnserved: later(number, 0),
    lateShare: later(number, 0),
    outcomes: later(number, 0),
    carriedPerSecond: later(number, 0),
    budgetPerSecond: later(nullable(number), null),
    debt: number,
  }),
  regime,
  systemic: flag,
  overridden: nullable(mode),
});

export const nodeMemory = record<NodeMemory>('nodeMemory', {
  stalled: list(flag),
  usage: mapOf(list(record<UsagePoint>('usagePoint', { ageMs: number, used: number }))),
});

const cause = variants<'kind', Cause>('cause', 'kind', {
  latency: record('cause.latency', { us: number, normalUs: number }),
  errors: record('cause.errors', { ratio: number, gate: number }),
  queue: record('cause.queue', { ratio: number, gate: number }),
  silence: record('cause.silence', { waiting: number, ageMs: number }),
  isolation: record('cause.isolation', {
    of: isolationCause,
    cooldownMs: number,
    own: later(number, 0),
    peers: later(number, 0),
  }),
  drip: record('cause.drip', { of: isolationCause, cooldownMs: number }),
  recovery: record('cause.recovery', { forMs: number }),
  ttf: record('cause.ttf', { resource: text, ttfMs: number, limitMs: number }),
  stall: record('cause.stall', { ticks: number, of: number }),
  capacity: record('cause.capacity', {
    offeredPerSecond: later(number, 0),
    goodputPerSecond: later(number, 0),
    unserved: later(number, 0),
    usual: later(number, 0),
  }),
  conductance: record('cause.conductance', { conductance: number, least: number }),
  guard: record('cause.guard', { skew: number, limit: number }),
  churn: record('cause.churn', { backends: number }),
  override: record('cause.override', { mode: nullable(mode) }),
  systemic: record('cause.systemic', { isolated: number, backends: number }),
  failsafe: record('cause.failsafe', { held: flag }),
});

const change = variants<'of', Change>('change', 'of', {
  slots: record('change.slots', {
    route: text,
    backend: text,
    from: number,
    to: number,
    because: text,
  }),
  admission: record('change.admission', { route: text, from: mode, to: mode }),
  regime: record('change.regime', { route: text, from: regime, to: regime }),
  override: record('change.override', { route: text }),
  hold: record('change.hold', {}),
});

export const reasons = list(record<Reason>('reason', { change, cause }));

/** Without its memory, which the state has already. */
const backendField = record<Omit<BackendField, 'memory'>>('backendField', {
  id: text,
  slots: number,
  before: number,
  target: number,
  weight: number,
  state,
  pressure: record<Pressure>('pressure', {
    queue: nullable(number),
    latency: nullable(number),
    path: nullable(number),
    node: nullable(number),
    errors: nullable(number),
    gate: number,
    total: number,
  }),
});

export type BareRouteField = Omit<RouteField, 'backends'> & {
  readonly backends: readonly Omit<BackendField, 'memory'>[];
};

export const routeField = record<BareRouteField>('routeField', {
  name: text,
  slots: number,
  backends: list(backendField),
  regime,
  gear,
  systemic: flag,
  conductance: number,
  referenceUs: nullable(number),
  motion: record<Motion>('motion', {
    worst: number,
    startsAt: number,
    stopsAt: number,
    moving: flag,
    limit: number,
    guard: number,
    skew: number,
  }),
  valve: record<ValveField>('valveField', {
    mode,
    cause: nullable(cause),
    budgetPerSecond: nullable(number),
    burst: number,
    goodputPerSecond: nullable(number),
    debt: number,
    calmMs: number,
  }),
  scaleHint: nullable(
    oneOf('scaleHint', ['monopoly', 'systemic', 'conductance', 'empty', 'capacity'] as const),
  ),
});

export const nodeField = record<NodeField>('nodeField', {
  regime,
  exhaustion: nullable(
    record<Exhaustion>('exhaustion', {
      resource: text,
      used: number,
      limit: number,
      perSecond: number,
      ttfMs: number,
    }),
  ),
  stalledNow: flag,
  stalledTicks: number,
  missing: list(record<NodeField['missing'][number]>('missing', { sensor: text, why: text })),
});

/** What a tick says of a route's field: what an operator asks for, and a hash of all of it. */
export const routeOutput = record('routeOutput', {
  slots: list(number),
  states: list(state),
  mode,
  regime,
  gear,
  budgetPerSecond: nullable(number),
  digest: bytes,
});

export const nodeOutput = record('nodeOutput', { regime, digest: bytes });
