// The agent as a process: the lock of its pin path, its senses, its clock, the
// source of its routes, knobs that reload, and a clean end on a signal.
import { hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';

import type { Knobs } from '../config/knobs.js';
import { describeReload, KnobsReload } from '../config/knobs-watch.js';
import type { KnobSources } from '../config/load.js';
import type { Audit, AuditOptions } from '../audit/metrics.js';
import { describeAddress, type Address } from '../audit/address.js';
import type { HttpServer } from '../audit/http.js';
import { exclusivelyNow, lockAsAgent, openPlane, pinIdentity } from '../dataplane/pins.js';
import { Reconciler } from '../dataplane/reconcile.js';
import { FlightRecorder, type RecordOptions } from '../recorder/flight.js';
import { Agent, type Tick } from './agent.js';
import { nodeNumber, TickClock } from './clock.js';
import { Health } from './health.js';
import { serveHealth } from './health-server.js';
import type { AgentLog } from './log.js';
import { OpenCounts } from './open-counts.js';
import { Reporter, reportSocket, serveReports, type AgentInput } from './report.js';
import { Sensorium } from './sensorium.js';
import { follow, type RouteSource } from './sources.js';
import { UnsafeWatch } from './unsafe.js';
import { describeDone } from './words.js';

/**
 * Garbage that may lie on the heap, in percent of what lives there, before V8 collects it. On a
 * node with much memory it lets several times as much lie.
 */
const garbagePercent = 25;
/** What else waits has its turn between the parts of a large cluster. */
const breathMs = 10;
/** In a line of the log: the first field of a large cluster has a hundred thousand. */
const mostReasons = 20;

export interface RunOptions {
  readonly pinPath: string;
  readonly source: RouteSource;
  readonly knobs: Knobs;
  /** Of a hundred connects, those that are enforced, where a namespace has its own word. */
  readonly enforceNamespaces: ReadonlyMap<string, number>;
  /** Where the knobs came from, to be read again on SIGHUP. */
  readonly knobSources: KnobSources;
  /** A unix socket on which applications say how backends do. */
  readonly appSocket?: string;
  /** Where ticks are recorded: by default in memory, the last minutes. */
  readonly record?: RecordOptions;
  /** Where Prometheus may ask; without it nothing is served. */
  readonly metrics?: Address;
  /** Where the kubelet may ask how the agent is; without it nothing is served. */
  readonly health?: Address;
  /** Of this nity. */
  readonly version: string;
  readonly log: AgentLog;
  /** Ends the run cleanly when it is aborted. */
  readonly signal: AbortSignal;
}

function describe({ outcome, reasons, observed }: Tick): string | undefined {
  if (outcome.kind === 'followed') {
    return `epoch ${outcome.epoch} was set by another; its field is taken over`;
  }
  if (outcome.kind === 'late') return 'a late tick was abandoned';
  // Said by the alarm, now and then.
  if (outcome.kind === 'unsafe') return undefined;
  if (reasons.length === 0) return undefined;
  const told = reasons.slice(0, mostReasons).map((reason) => describeDone(reason, observed));
  if (reasons.length > told.length) told.push(`and ${reasons.length - told.length} more`);
  const words = told.join('; ');
  return outcome.kind === 'projected' ? `epoch ${outcome.epoch}: ${words}` : words;
}

/** Loaded only when it is asked for: without it an agent needs no Prometheus client. */
async function audited(
  address: Address,
  of: AuditOptions,
  staleAfterMs: () => number,
): Promise<{ readonly audit: Audit; readonly server: HttpServer }> {
  const [{ Audit }, { serveMetrics }] = await Promise.all([
    import('../audit/metrics.js'),
    import('../audit/server.js'),
  ]);
  const audit = new Audit(of);
  return { audit, server: await serveMetrics(address, audit, staleAfterMs) };
}

/** Calls `reload` on SIGHUP; Node calls it between ticks, never within one. */
function onHangup(reload: () => void): () => void {
  process.on('SIGHUP', reload);
  return () => {
    process.off('SIGHUP', reload);
  };
}

/** Runs until `signal` is aborted. */
export async function runAgent(options: RunOptions): Promise<void> {
  const { pinPath, log, signal } = options;
  let { knobs } = options;
  setFlagsFromString(`--heap-growing-percent=${garbagePercent}`);
  const undo: (() => void | Promise<void>)[] = [];
  const identity = pinIdentity(pinPath);
  const plane = openPlane(pinPath);
  undo.push(() => {
    plane.close();
  });
  let recorder: FlightRecorder | undefined;
  try {
    const own = lockAsAgent(pinPath);
    undo.push(() => {
      own.release();
    });
    const phase = nodeNumber(hostname());
    const clock = new TickClock(knobs.tickMs, phase);
    const flight = new FlightRecorder({
      record: options.record ?? { kind: 'ring' },
      log,
      phase,
    });
    recorder = flight;
    undo.push(() => flight.close(), flight.attach());
    const senses = new Sensorium(log);
    undo.push(() => senses.close());
    senses.wakeOnStall(() => {
      clock.wake();
    });
    const agent = new Agent({
      plane,
      knobs,
      exclusively: (change) => exclusivelyNow(pinPath, identity, change),
      senses,
      phase,
      enforceNamespaces: options.enforceNamespaces,
    });
    for (const found of agent.projector.damage) log.warn(`the maps were damaged: ${found}`);
    if (options.appSocket !== undefined) {
      await senses.hear(options.appSocket, knobs, (route, backend) => agent.serves(route, backend));
    }
    const reporter = new Reporter(options.version);
    let audit: Audit | undefined;
    /** Null: the newest version of the input is in force. */
    const told = (input: AgentInput, rejected: string | null) => {
      audit?.input(input, rejected === null);
      reporter.input(input, rejected);
    };
    const followed = await follow(options.source, {
      agent,
      senses,
      plane,
      knobs,
      pinPath,
      log,
      told,
    });
    undo.push(() => followed.close());
    const reports = await serveReports(reportSocket(pinPath), {
      field: (route) => reporter.report(performance.now(), route),
      changes: (after) => reporter.changesSince(performance.now(), after),
      cluster: followed.cluster,
      keptTicks: () => flight.kept(),
    });
    undo.push(() => reports.close());

    if (options.metrics !== undefined) {
      const served = await audited(
        options.metrics,
        {
          plane,
          version: options.version,
          addresses: () => agent.addressCount(),
          cluster: followed.cluster,
        },
        () => knobs.tau1Ms,
      );
      undo.push(() => served.server.close());
      ({ audit } = served);
      log.info(`metrics are served at ${describeAddress(served.server.address)}`);
    }

    const health = new Health(performance.now(), knobs);
    if (options.health !== undefined) {
      const server = await serveHealth(options.health, health);
      undo.push(() => server.close());
      log.info(`health is served at ${describeAddress(server.address)}`);
    }

    const reloading = new KnobsReload(options.knobSources, knobs);
    undo.push(
      onHangup(() => {
        const outcome = reloading.reload();
        if (outcome.kind === 'changed') {
          ({ knobs } = outcome);
          agent.retune(knobs);
          clock.retime(knobs.tickMs);
          senses.retune(knobs);
        }
        told('knobs', outcome.kind === 'broken' ? outcome.problem.message : null);
        log[outcome.kind === 'broken' ? 'warn' : 'info'](describeReload(outcome));
      }),
    );
    const openCounts = new OpenCounts(new Reconciler(plane), log, performance.now());
    const unsafe = new UnsafeWatch();
    await clock.run(signal, (lagMs) => {
      if (followed.before()) clock.wake(breathMs);
      const tick = agent.tick(lagMs);
      followed.after(tick);
      reporter.see(tick, performance.now(), knobs);
      recorder?.see(tick);
      audit?.see(tick, performance.now());
      health.see(tick, performance.now(), followed.routesKnown());
      const words = describe(tick);
      if (words !== undefined) log.info(words);
      const alarm = unsafe.see(tick, performance.now());
      if (alarm !== undefined) log.warn(alarm);
      openCounts.see(performance.now(), () => agent.backendIndexes());
    });
    agent.stop();
    log.info('stopped; the dataplane stays and holds the field');
  } catch (error) {
    recorder?.crashed();
    throw error;
  } finally {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  }
}
