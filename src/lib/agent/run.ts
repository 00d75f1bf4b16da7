// The agent as a process: the lock of its pin path, its senses, its clock, the
// watch of its services file, knobs that reload, and a clean end on a signal.
import { hostname } from 'node:os';

import type { Knobs } from '../config/knobs.js';
import { describeReload, KnobsReload } from '../config/knobs-watch.js';
import type { KnobSources } from '../config/load.js';
import type { Audit, AuditOptions } from '../audit/metrics.js';
import type { MetricsAddress } from '../audit/metrics-address.js';
import type { MetricsServer } from '../audit/server.js';
import { socketsObjectPath } from '../dataplane/loader.js';
import { exclusivelyNow, lockAsAgent, openPlane } from '../dataplane/pins.js';
import { Reconciler } from '../dataplane/reconcile.js';
import { InputError } from '../errors.js';
import { FlightRecorder, type RecordOptions } from '../recorder/flight.js';
import { ServicesWatch } from '../routes/services-watch.js';
import { Agent, type Tick } from './agent.js';
import { nodeNumber, TickClock } from './clock.js';
import type { AgentLog } from './log.js';
import { Reporter, reportSocket, serveReports, type AgentInput } from './report.js';
import { Sensorium } from './sensorium.js';
import { UnsafeWatch } from './unsafe.js';
import { describeReason } from './words.js';

/** A safeguard, not a signal: rare enough to cost nothing. */
const reconcileEveryMs = 60_000;

export interface RunOptions {
  readonly pinPath: string;
  readonly services: string;
  readonly knobs: Knobs;
  /** Where the knobs came from, to be read again on SIGHUP. */
  readonly knobSources: KnobSources;
  /** A unix socket on which applications say how backends do. */
  readonly appSocket?: string;
  /** Where ticks are recorded: by default in memory, the last minutes. */
  readonly record?: RecordOptions;
  /** Where Prometheus may ask; without it nothing is served. */
  readonly metrics?: MetricsAddress;
  /** Of this nity. */
  readonly version: string;
  readonly log: AgentLog;
  /** Ends the run cleanly when it is aborted. */
  readonly signal: AbortSignal;
}

function describe({ outcome, reasons }: Tick): string | undefined {
  if (outcome.kind === 'followed') {
    return `epoch ${outcome.epoch} was set by another; its field is taken over`;
  }
  if (outcome.kind === 'late') return 'a late tick was abandoned';
  if (reasons.length === 0) return undefined;
  const words = reasons.map((reason) => describeReason(reason)).join('; ');
  return outcome.kind === 'projected' ? `epoch ${outcome.epoch}: ${words}` : words;
}

/** A kernel without BTF cannot list its sockets: the counts are then trusted as they are. */
function reconcile(reconciler: Reconciler, agent: Agent, log: AgentLog): void {
  try {
    const corrected = reconciler.run(agent.backendIndexes());
    if (corrected > 0)
      log.warn(`${corrected} open counts differed from the sockets and were corrected`);
  } catch (error) {
    log.warn(
      `the sockets could not be listed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Loaded only when it is asked for: without it an agent needs no Prometheus client. */
async function audited(
  address: MetricsAddress,
  of: AuditOptions,
  staleAfterMs: () => number,
): Promise<{ readonly audit: Audit; readonly server: MetricsServer }> {
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
  const undo: (() => void | Promise<void>)[] = [];
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
    recorder = new FlightRecorder({ record: options.record ?? { kind: 'ring' }, log, phase });
    undo.push(() => recorder?.close(), recorder.attach());
    const senses = new Sensorium(log);
    undo.push(() => senses.close());
    senses.wakeOnStall(() => {
      clock.wake();
    });
    const agent = new Agent({
      plane,
      knobs,
      exclusively: (change) => exclusivelyNow(pinPath, change),
      senses,
      phase,
    });
    if (options.appSocket !== undefined) {
      await senses.hear(options.appSocket, knobs, (route, backend) => agent.serves(route, backend));
    }
    const reporter = new Reporter(options.version);
    const reports = await serveReports(reportSocket(pinPath), reporter);
    undo.push(() => reports.close());

    let audit: Audit | undefined;
    if (options.metrics !== undefined) {
      const served = await audited(
        options.metrics,
        { plane, version: options.version, addresses: () => agent.addressCount() },
        () => knobs.tau1Ms,
      );
      undo.push(() => served.server.close());
      ({ audit } = served);
      const { host, port } = served.server.address;
      log.info(`metrics are served at http://${host.includes(':') ? `[${host}]` : host}:${port}`);
    }

    /** Null: the newest version of the input is in force. */
    const told = (input: AgentInput, rejected: string | null) => {
      audit?.input(input, rejected === null);
      reporter.input(input, rejected);
    };
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
    const serve = (routes: Parameters<Agent['serve']>[0]) => {
      agent.serve(routes);
      senses.watch(routes);
    };
    const watch = new ServicesWatch(options.services, {
      changed(routes) {
        try {
          serve(routes);
          told('services', null);
          log.info(`${options.services} changed: ${routes.length} routes are served`);
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
          told('services', error.message);
          log.warn(`${error.message} The last good services stay in force.`);
        }
      },
      broken(problem) {
        told('services', problem.message);
        log.warn(`${problem.message}\nThe last good services stay in force.`);
      },
    });
    undo.push(() => {
      watch.close();
    });
    serve(watch.routes);
    log.info(`${watch.routes.length} routes are served from ${options.services}`);

    const reconciler = new Reconciler(plane, socketsObjectPath);
    const unsafe = new UnsafeWatch();
    let nextReconcile = performance.now() + reconcileEveryMs;
    await clock.run(signal, (lagMs) => {
      const tick = agent.tick(lagMs);
      reporter.see(tick, performance.now(), knobs);
      recorder?.see(tick);
      audit?.see(tick, performance.now());
      const words = describe(tick);
      if (words !== undefined) log.info(words);
      const alarm = unsafe.see(tick, performance.now());
      if (alarm !== undefined) log.warn(alarm);
      if (performance.now() < nextReconcile) return;
      nextReconcile = performance.now() + reconcileEveryMs;
      reconcile(reconciler, agent, log);
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
