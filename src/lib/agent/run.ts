// The agent as a process: the lock of its pin path, its senses, its clock, the
// source of its routes, knobs that reload, and a clean end on a signal.
import { hostname } from 'node:os';

import type { Knobs } from '../config/knobs.js';
import { describeReload, KnobsReload } from '../config/knobs-watch.js';
import type { KnobSources } from '../config/load.js';
import { socketsObjectPath } from '../dataplane/loader.js';
import { exclusivelyNow, lockAsAgent, openPlane } from '../dataplane/pins.js';
import { Reconciler } from '../dataplane/reconcile.js';
import { Agent, type Tick } from './agent.js';
import { nodeNumber, TickClock } from './clock.js';
import type { AgentLog } from './log.js';
import { Reporter, reportSocket, serveReports } from './report.js';
import { Sensorium } from './sensorium.js';
import { follow, type RouteSource } from './sources.js';
import { describeReason } from './words.js';

/** A safeguard, not a signal: rare enough to cost nothing. */
const reconcileEveryMs = 60_000;

export interface RunOptions {
  readonly pinPath: string;
  readonly source: RouteSource;
  readonly knobs: Knobs;
  /** Where the knobs came from, to be read again on SIGHUP. */
  readonly knobSources: KnobSources;
  /** A unix socket on which applications say how backends do. */
  readonly appSocket?: string;
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
  try {
    const own = lockAsAgent(pinPath);
    undo.push(() => {
      own.release();
    });
    const phase = nodeNumber(hostname());
    const clock = new TickClock(knobs.tickMs, phase);
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
    const followed = await follow(options.source, { agent, senses, plane, knobs, pinPath, log });
    undo.push(() => followed.close());
    const reporter = new Reporter();
    const reports = await serveReports(reportSocket(pinPath), {
      field: (route) => reporter.report(performance.now(), route),
      cluster: followed.cluster,
    });
    undo.push(() => reports.close());

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
        log[outcome.kind === 'broken' ? 'warn' : 'info'](describeReload(outcome));
      }),
    );
    const reconciler = new Reconciler(plane, socketsObjectPath);
    let nextReconcile = performance.now() + reconcileEveryMs;
    await clock.run(signal, (lagMs) => {
      followed.before();
      const tick = agent.tick(lagMs);
      followed.after(tick);
      reporter.see(tick, performance.now(), knobs);
      const words = describe(tick);
      if (words !== undefined) log.info(words);
      if (performance.now() < nextReconcile) return;
      nextReconcile = performance.now() + reconcileEveryMs;
      reconcile(reconciler, agent, log);
    });
    agent.stop();
    log.info('stopped; the dataplane stays and holds the field');
  } finally {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  }
}
