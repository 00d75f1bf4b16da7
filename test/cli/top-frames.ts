// Moments of a node as `nity top` knows them, made up: a quiet one, one of many troubles,
// and one without an agent.
import type { DatedReason } from '../../src/lib/agent/report.js';
import type { BackendRow, RouteRow, TopFrame } from '../../src/lib/cli/top/frame.js';
import type { Reason } from '../../src/lib/field/reasons.js';
import { World } from '../field/world.js';

function backend(name: string, more: Partial<BackendRow> = {}): BackendRow {
  return {
    backend: name,
    state: 'healthy',
    suspect: false,
    suspectForOne: false,
    slots: 12,
    share: 12 / 64,
    open: 3,
    waiting: 0,
    picksPerSecond: 40,
    failedPerSecond: 0,
    p50Us: 4_200,
    p95Us: 11_500,
    ...more,
  };
}

function route(
  name: string,
  backends: readonly BackendRow[],
  more: Partial<RouteRow> = {},
): RouteRow {
  return {
    route: name,
    mode: 'normal',
    overrideLeftMs: null,
    gear: 'twin',
    enforcedPercent: 100,
    slots: 64,
    picksPerSecond: 200,
    refusedPerSecond: 0,
    open: backends.reduce((sum, { open }) => sum + open, 0),
    p50Us: 4_200,
    p95Us: 11_500,
    backendCount: backends.length,
    backends,
    ...more,
  };
}

const cart = ['a', 'b', 'c', 'd', 'e'].map((_, i) =>
  backend(
    `10.0.0.${i + 1}:8080`,
    i === 2
      ? { state: 'isolated', slots: 1, picksPerSecond: 0.2, failedPerSecond: 0.2 }
      : { slots: i === 4 ? 18 : 15 },
  ),
);

const pay = [
  backend('10.0.1.1:8443', {
    state: 'degraded',
    slots: 40,
    p95Us: 830_000,
    open: 61,
    suspect: true,
  }),
  backend('10.0.1.2:8443', { slots: 24 }),
];

const wide = Array.from({ length: 90 }, (_, i) =>
  backend(`10.0.2.${i + 1}:9000`, { slots: 11, picksPerSecond: 13.3, p50Us: null, p95Us: null }),
);

function explainedCart(): NonNullable<TopFrame['explained']> {
  const world = new World({ ids: cart.map(({ backend: name }) => name) });
  world.seconds(6);
  world.reset();
  world.behaviours.set('10.0.0.3:8080', 'refusing');
  world.seconds(1);
  const reasons = world.reasons.map((reason, i) => ({ ...reason, agoMs: 1_000 + i, sequence: 40 }));
  return { ...world.route, name: 'shop/cart:http', observed: null, reasons };
}

const reason = (change: Reason['change'], cause: Reason['cause'], agoMs: number): DatedReason => ({
  change,
  cause,
  agoMs,
  sequence: 40,
});

const changes: readonly DatedReason[] = [
  reason(
    {
      of: 'slots',
      route: 'shop/cart:http',
      backend: '10.0.0.3:8080',
      from: 13,
      to: 1,
      because: '10.0.0.3:8080',
    },
    { kind: 'isolation', of: 'errors', cooldownMs: 2_000, own: 1, peers: 0 },
    430,
  ),
  reason(
    { of: 'admission', route: 'shop/pay:https', from: 'normal', to: 'soft' },
    { kind: 'conductance', conductance: 0.31, least: 0.5 },
    62_000,
  ),
];

export const troubled: TopFrame = {
  host: 'node-a',
  field: {
    epoch: 1_017n,
    heldEpoch: 1_017n,
    activeTable: 'B',
    heartbeatAgeMs: 84,
    failsafeMode: 'normal',
    tableEpochs: [1_016n, 1_017n],
    projectionHeldMs: 0,
    agentPid: 4_711,
    regime: 2,
  },
  regime: 'transition',
  latency: 'first-byte',
  routes: [
    route('shop/cart:http', cart, { picksPerSecond: 1_234 }),
    route('shop/pay:https', pay, {
      mode: 'soft',
      overrideLeftMs: 540_000,
      refusedPerSecond: 42.5,
      p95Us: 830_000,
    }),
    route('telemetry/collector-of-everything-that-happens:otlp-grpc', wide, {
      slots: 1_024,
      gear: 'single',
      p50Us: null,
      p95Us: null,
    }),
    route('shop/gone:http', [], { slots: 0, picksPerSecond: 0, refusedPerSecond: 7 }),
  ],
  stalls: {
    cpu: { kind: 'read', value: { some: 0.31, full: 0 } },
    memory: { kind: 'read', value: { some: 0.002, full: 0 } },
    io: { kind: 'missing', why: 'io.pressure is not there' },
  },
  agent: {
    pid: 4_711,
    sequence: 40,
    agoMs: 60,
    outcome: 'projected',
    node: {
      regime: 'transition',
      exhaustion: {
        resource: 'conntrack',
        used: 200_000,
        limit: 262_144,
        perSecond: 900,
        ttfMs: 69_000,
      },
      stalledTicks: 3,
      stalledNow: true,
      missing: [],
    },
  },
  changes,
  explained: explainedCart(),
};

/** Nothing of the first route is enforced, and of the second a part. */
export const observed: TopFrame = {
  ...troubled,
  routes: troubled.routes.map((row, i) =>
    i === 0
      ? { ...row, enforcedPercent: 0 }
      : i === 1
        ? { ...row, enforcedPercent: 25, overrideLeftMs: null }
        : row,
  ),
  explained:
    troubled.explained === null
      ? null
      : {
          ...troubled.explained,
          observed: { percent: 0, wouldHaveRefused: 0, wouldHaveIsolated: 1, slots: {} },
        },
};

/** The agent was killed: the maps are read as before, and nobody gives reasons. */
export const orphaned: TopFrame = {
  ...troubled,
  field: {
    ...troubled.field,
    failsafeMode: 'hold',
    heartbeatAgeMs: 1_900,
    epoch: 1_018n,
    projectionHeldMs: 0,
  },
  regime: null,
  agent: null,
  changes: [],
  explained: null,
};

export const empty: TopFrame = { ...troubled, routes: [], changes: [], explained: null };
