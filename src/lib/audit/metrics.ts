// What Prometheus is told of the agent. Each tick is counted as it passes, in a few
// microseconds; all else is read off the last tick and the kernel's maps when somebody asks.
import { Registry } from 'prom-client';

import type { AgentInput } from '../agent/report.js';
import type { Tick } from '../agent/agent.js';
import { readField } from '../dataplane/control.js';
import { readCounters, type CounterName } from '../dataplane/counters.js';
import { describeSchema, schemaWord, type Plane } from '../dataplane/plane.js';
import { boundedTables, tableUse } from '../dataplane/table-use.js';
import { exhaustibles, stallResources } from '../field/signals.js';
import { admissionModes, regimes, type AdmissionMode } from '../field/states.js';
import type { Field, RouteField } from '../field/types.js';
import {
  backendStates,
  causes,
  changes,
  failsafeModes,
  family,
  inputs,
  isolationCauses,
  namedRoutes,
  outcomes,
  scaleHints,
  sensors,
} from './catalogue.js';
import { addProcessMetrics, makeMetrics, type Metrics } from './registry.js';

/** A time to failure beyond this is none: `never` of the law is 1e12 ms. */
const nearMs = 86_400_000;

export interface AuditOptions {
  readonly plane: Plane;
  readonly version: string;
  /** prom-client's metrics of the process too. */
  readonly ofProcess?: boolean;
}

export class Audit {
  private readonly registry = new Registry();
  private readonly metrics: Metrics;
  private readonly plane: Plane;
  private last: { readonly tick: Tick; readonly atMs: number } | undefined;

  constructor({ plane, version, ofProcess = true }: AuditOptions) {
    this.plane = plane;
    this.metrics = makeMetrics(this.registry);
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
    for (const { change, cause } of tick.reasons) {
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

  /** Whether the newest version of an input is in force, or was refused. */
  input(input: AgentInput, accepted: boolean): void {
    this.metrics.inputRejected.set({ input }, accepted ? 0 : 1);
  }

  /** The exposition text. */
  text(): Promise<string> {
    this.readKernel();
    const { last } = this;
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
    const use = tableUse(plane);
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
    const { routes } = tick.field;
    const overrides = tick.inputs.routes.map(({ override }) => override);
    const modes = routes.map(({ valve }, i) => overrides[i] ?? valve.mode);
    tally(
      routes.map(({ regime }) => regime),
      regimes,
      (regime, count) => {
        metrics.routesByRegime.set({ regime }, count);
      },
    );
    tally(modes, admissionModes, (mode, count) => {
      metrics.routesByMode.set({ mode }, count);
    });
    tally(overrides, admissionModes, (mode, count) => {
      metrics.routesOverridden.set({ mode }, count);
    });
    tally(
      routes.map(({ scaleHint }) => scaleHint),
      scaleHints,
      (why, count) => {
        metrics.scaleHints.set({ why }, count);
      },
    );
    const count = (test: (route: RouteField) => boolean) => routes.filter(test).length;
    metrics.routesWithoutBackends.set(count(({ backends }) => backends.length === 0));
    metrics.routesMoving.set(count(({ motion }) => motion.moving));
    metrics.routesSystemic.set(count(({ systemic }) => systemic));
    metrics.conductance.set(least(routes.map(({ conductance }) => conductance)));
    metrics.guard.set(least(routes.map(({ motion }) => motion.guard)));
    metrics.skew.set(routes.reduce((worst, { motion }) => Math.max(worst, motion.skew), 0));
    metrics.trouble.reset();
    for (const { route, regime, mode } of worst(tick.field, modes)) {
      metrics.trouble.set({ route, regime, mode }, 1);
    }
    this.readBackends(tick);
  }

  private readBackends({ field, inputs: { routes } }: Tick): void {
    const { metrics } = this;
    const states = field.routes.flatMap(({ backends }) => backends);
    tally(
      states.map(({ state }) => state),
      backendStates,
      (state, count) => {
        metrics.backends.set({ state }, count);
      },
    );
    const isolatedBy = states.map(({ memory: { circuit } }) =>
      circuit.kind === 'isolated' ? circuit.cause : null,
    );
    tally(isolatedBy, isolationCauses, (cause, count) => {
      metrics.isolated.set({ cause }, count);
    });
    let open = 0;
    let waiting = 0;
    for (const { backends } of routes) {
      for (const backend of backends) {
        open += backend.openMean ?? 0;
        waiting += backend.waiting?.count ?? 0;
      }
    }
    metrics.open.set(open);
    metrics.waiting.set(waiting);
  }
}

/** Calls `tell` for each of `values`, with how often it is among `found`. */
function tally<T extends string>(
  found: readonly (T | null | undefined)[],
  values: readonly T[],
  tell: (value: T, count: number) => void,
): void {
  const counts = new Map<T | null | undefined, number>();
  for (const one of found) counts.set(one, (counts.get(one) ?? 0) + 1);
  for (const value of values) tell(value, counts.get(value) ?? 0);
}

function least(ratios: readonly number[]): number {
  return ratios.reduce((smallest, ratio) => Math.min(smallest, ratio), 1);
}

/** The worst of the routes that are not laminar and open; the first by name of equals. */
function worst({ routes }: Field, modes: readonly AdmissionMode[]) {
  return routes
    .map(({ name, regime }, i) => {
      const mode = modes[i] ?? 'normal';
      const gravity = regimes.indexOf(regime) + 2 * admissionModes.indexOf(mode);
      return { route: name, regime, mode, gravity };
    })
    .filter(({ gravity }) => gravity > 0)
    .sort((a, b) => b.gravity - a.gravity || (a.route < b.route ? -1 : 1))
    .slice(0, namedRoutes);
}
