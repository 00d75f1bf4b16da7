// What Prometheus is told of the agent. Each tick is counted as it passes, in a few
// microseconds; all else is read off the last tick and the kernel's maps when somebody asks.
import { Registry } from 'prom-client';

import type { AgentInput } from '../agent/report.js';
import type { Tick } from '../agent/agent.js';
import type { Observing } from '../agent/observing.js';
import { readField } from '../dataplane/control.js';
import { readCounters, type CounterName } from '../dataplane/counters.js';
import { describeSchema, schemaWord, type Plane } from '../dataplane/plane.js';
import { boundedTables, tableUse } from '../dataplane/table-use.js';
import { exhaustibles, stallResources } from '../field/signals.js';
import type { ClusterStatus } from '../kubernetes/status.js';
import { admissionModes, regimes } from '../field/states.js';
import {
  backendStates,
  causes,
  changes,
  enforcedParts,
  failsafeModes,
  family,
  inputs,
  isolationCauses,
  outcomes,
  scaleHints,
  sensors,
} from './catalogue.js';
import { leaveOutCluster, readCluster } from './cluster-metrics.js';
import { addProcessMetrics, makeMetrics, type Metrics } from './registry.js';
import { Tallies } from './tallies.js';

/** A time to failure beyond this is none: `never` of the law is 1e12 ms. */
const nearMs = 86_400_000;

export interface AuditOptions {
  readonly plane: Plane;
  readonly version: string;
  /** Service addresses that are served: to count them in the kernel's map takes milliseconds. */
  readonly addresses: () => number;
  /** Of an agent whose routes come from a cluster. */
  readonly cluster?: (() => ClusterStatus) | undefined;
  /** prom-client's metrics of the process too. */
  readonly ofProcess?: boolean;
}

export class Audit {
  private readonly registry = new Registry();
  private readonly metrics: Metrics;
  private readonly plane: Plane;
  private readonly addresses: () => number;
  private readonly cluster: (() => ClusterStatus) | undefined;
  /** Of each observed route, what of it is in the totals already. */
  private readonly counted = new Map<
    string,
    { readonly of: Observing; readonly refused: number; readonly isolated: number }
  >();
  private last: { readonly tick: Tick; readonly atMs: number } | undefined;

  constructor({ plane, version, addresses, cluster, ofProcess = true }: AuditOptions) {
    this.plane = plane;
    this.addresses = addresses;
    this.cluster = cluster;
    this.metrics = makeMetrics(this.registry);
    if (cluster === undefined) leaveOutCluster(this.registry);
    if (ofProcess) addProcessMetrics(this.registry);
    const { metrics } = this;
    const schema = describeSchema(schemaWord);
    metrics.build.set({ version, schema, node: process.version }, 1);
    // A counter that has not counted yet says so: what appears only with its first event has no rate.
    for (const outcome of outcomes) metrics.ticks.inc({ outcome }, 0);
    for (const cause of causes) {
      metrics.slotsMoved.inc({ cause }, 0);
      for (const change of changes) metrics.changes.inc({ change, cause }, 0);
    }
    for (const input of inputs) metrics.inputRejected.set({ input }, 0);
  }

  readonly contentType = this.registry.contentType;

  /** The age of the last tick, and whether there was one that reached the kernel. */
  health(nowMs: number): { readonly tickAgeMs: number | null } {
    return { tickAgeMs: this.last === undefined ? null : nowMs - this.last.atMs };
  }

  see(tick: Tick, nowMs: number): void {
    this.last = { tick, atMs: nowMs };
    const { metrics } = this;
    metrics.ticks.inc({ outcome: tick.outcome.kind });
    metrics.tickSeconds.add(tick.tookMs / 1000, 1);
    metrics.lagSeconds.add(tick.inputs.node.loopLagMs / 1000, 1);
    this.countObserved(tick.observed);
    for (const { change, cause } of tick.reasons) {
      // Of a route on which nothing is enforced nothing was changed.
      if ('route' in change && tick.observed.get(change.route)?.percent === 0) continue;
      metrics.changes.inc({ change: change.of, cause: cause.kind });
      // What one backend gains another loses: each slot that moved is counted once.
      if (change.of !== 'slots' || change.to <= change.from) continue;
      metrics.slotsMoved.inc({ cause: cause.kind }, change.to - change.from);
    }
    for (const { backends } of tick.inputs.routes) {
      for (const { firstByte } of backends) {
        for (const { us, count } of firstByte ?? []) metrics.firstByte.add(us / 1e6, count);
      }
    }
  }

  /** What was counted on a route since it is observed, as totals of the agent. */
  private countObserved(observed: Tick['observed']): void {
    if (observed.size === 0 && this.counted.size === 0) return;
    for (const [route, now] of observed) {
      const before = this.counted.get(route);
      // A route that is observed anew counts from nothing.
      const known = before?.of === now ? before : { refused: 0, isolated: 0 };
      this.metrics.observedRefusals.inc(now.wouldHaveRefused - known.refused);
      this.metrics.observedIsolations.inc(now.wouldHaveIsolated - known.isolated);
      const { wouldHaveRefused: refused, wouldHaveIsolated: isolated } = now;
      this.counted.set(route, { of: now, refused, isolated });
    }
    for (const route of this.counted.keys()) if (!observed.has(route)) this.counted.delete(route);
  }

  /** Whether the newest version of an input is in force, or was refused. */
  input(input: AgentInput, accepted: boolean): void {
    this.metrics.inputRejected.set({ input }, accepted ? 0 : 1);
  }

  /** The exposition text. */
  text(): Promise<string> {
    this.readKernel();
    const { last, cluster } = this;
    if (cluster !== undefined) readCluster(this.metrics, cluster());
    if (last !== undefined) {
      this.readNode(last.tick);
      this.readRoutes(last.tick);
    }
    return this.registry.metrics();
  }

  private readKernel(): void {
    const { metrics, plane } = this;
    const field = readField(plane);
    metrics.epoch.set(Number(field.epoch));
    metrics.heldEpoch.set(Number(field.heldEpoch));
    metrics.heartbeatAge.set((field.heartbeatAgeMs ?? 0) / 1000);
    metrics.projectionHeld.set(field.projectionHeldMs / 1000);
    for (const mode of failsafeModes) {
      metrics.failsafe.set({ mode }, field.failsafeMode === mode ? 1 : 0);
    }
    const counters = readCounters(plane);
    const totals = (name: CounterName) => Number(counters[name]);
    // Cumulative already: each look replaces what the last one said.
    for (const prefix of ['picked', 'refused', 'ended', 'noted', 'established'] as const) {
      metrics[prefix].reset();
    }
    for (const { name, value: by } of family('picked')) metrics.picked.inc({ by }, totals(name));
    for (const { name, value: reason } of family('refused')) {
      metrics.refused.inc({ reason }, totals(name));
    }
    for (const { name, value: how } of family('ended')) metrics.ended.inc({ how }, totals(name));
    for (const { name, value: what } of family('noted')) metrics.noted.inc({ what }, totals(name));
    metrics.established.inc(totals('notedEstablished'));
    const use = tableUse(plane, this.addresses);
    for (const table of boundedTables) {
      metrics.tableUsed.set({ table }, use[table].used);
      metrics.tableCapacity.set({ table }, use[table].capacity);
    }
  }

  private readNode({ inputs: { node }, field }: Tick): void {
    const { metrics } = this;
    for (const resource of stallResources) {
      const stall = node.stalls[resource];
      for (const kind of ['some', 'full'] as const) {
        // Missing is no zero: the series is not there.
        if (stall.kind === 'missing') metrics.stall.remove({ resource, kind });
        else metrics.stall.set({ resource, kind }, stall.value[kind]);
      }
    }
    for (const resource of exhaustibles) {
      const usage = node.usage[resource];
      if (usage.kind === 'missing') metrics.used.remove({ resource });
      else metrics.used.set({ resource }, usage.value.used / usage.value.limit);
    }
    const { exhaustion, missing, stalledNow } = field.node;
    metrics.stalled.set(stalledNow ? 1 : 0);
    metrics.exhaustion.reset();
    if (exhaustion !== null && exhaustion.ttfMs < nearMs) {
      metrics.exhaustion.set({ resource: exhaustion.resource }, exhaustion.ttfMs / 1000);
    }
    const absent = new Set(missing.map(({ sensor }) => sensor));
    for (const sensor of sensors) metrics.sensorUp.set({ sensor }, absent.has(sensor) ? 0 : 1);
  }

  private readRoutes(tick: Tick): void {
    const { metrics } = this;
    const told = new Tallies(tick);
    for (const regime of regimes) metrics.routesByRegime.set({ regime }, told.regimes[regime]);
    for (const mode of admissionModes) {
      metrics.routesByMode.set({ mode }, told.modes[mode]);
      metrics.routesOverridden.set({ mode }, told.overrides[mode]);
    }
    for (const why of scaleHints) metrics.scaleHints.set({ why }, told.hints[why]);
    for (const state of backendStates) metrics.backends.set({ state }, told.states[state]);
    for (const cause of isolationCauses) metrics.isolated.set({ cause }, told.isolated[cause]);
    metrics.routesWithoutBackends.set(told.withoutBackends);
    metrics.routesMoving.set(told.moving);
    metrics.routesSystemic.set(told.systemic);
    metrics.conductance.set(told.conductance);
    metrics.guard.set(told.guard);
    metrics.skew.set(told.skew);
    metrics.open.set(told.open);
    metrics.waiting.set(told.waiting);
    for (const enforced of enforcedParts) {
      metrics.routesObserved.set({ enforced }, told.observed[enforced]);
    }
    for (const state of backendStates) metrics.backendsObserved.set({ state }, told.wouldBe[state]);
    metrics.enforced.reset();
    for (const { route, percent } of told.leastEnforced())
      metrics.enforced.set({ route }, percent / 100);
    metrics.trouble.reset();
    for (const { route, regime, mode } of told.worst()) {
      metrics.trouble.set({ route, regime, mode }, 1);
    }
  }
}
