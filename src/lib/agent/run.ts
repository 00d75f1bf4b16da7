// The agent as a process: the lock of its pin path, the clock of its ticks, the
// watch of its services file, and a clean end on a signal.
import { hostname } from 'node:os';

import type { Knobs } from '../config/knobs.js';
import { socketsObjectPath } from '../dataplane/loader.js';
import { exclusivelyNow, lockAsAgent, openPlane } from '../dataplane/pins.js';
import { Reconciler } from '../dataplane/reconcile.js';
import { InputError } from '../errors.js';
import { ServicesWatch } from '../routes/services-watch.js';
import { Agent, type Tick } from './agent.js';

/** A safeguard, not a signal: rare enough to cost nothing. */
const reconcileEveryMs = 60_000;

export interface AgentLog {
  info(message: string): void;
  warn(message: string): void;
}

export interface RunOptions {
  readonly pinPath: string;
  readonly services: string;
  readonly knobs: Knobs;
  readonly log: AgentLog;
  readonly onTick?: (tick: Tick) => void;
  /** Ends the run cleanly when it is aborted. */
  readonly signal: AbortSignal;
}

/** A node's own phase, so that nodes do not act on the same backends in step. */
function phaseMs(node: string, tickMs: number): number {
  let hash = 0;
  for (const character of node) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0;
  return hash % tickMs;
}

function describe(tick: Tick): string | undefined {
  if (tick.outcome.kind === 'projected' && tick.reasons.length > 0) {
    const words = tick.reasons.map(
      ({ route, backend, kind, from, to, pressure }) =>
        `${route} ${backend} ${from}→${to} (${kind}, pressure ${pressure.total.toFixed(2)})`,
    );
    return `epoch ${tick.outcome.epoch}: ${words.join(', ')}`;
  }
  if (tick.outcome.kind === 'followed') {
    return `epoch ${tick.outcome.epoch} was set by another; its field is taken over`;
  }
  return tick.outcome.kind === 'late' ? 'a late tick was abandoned' : undefined;
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

/** Runs until `signal` is aborted. Ticks fall on a fixed grid, so they do not drift. */
export async function runAgent(options: RunOptions): Promise<void> {
  const { pinPath, knobs, log, signal } = options;
  const plane = openPlane(pinPath);
  const own = lockAsAgent(pinPath);
  try {
    const agent = new Agent(plane, knobs, (change) => exclusivelyNow(pinPath, change));
    const reconciler = new Reconciler(plane, socketsObjectPath);
    let nextReconcile = performance.now() + reconcileEveryMs;
    const watch = new ServicesWatch(options.services, {
      changed(routes) {
        try {
          agent.serve(routes);
          log.info(`${options.services} changed: ${routes.length} routes are served`);
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
          log.warn(`${error.message} The last good services stay in force.`);
        }
      },
      broken(problem) {
        log.warn(`${problem.message}\nThe last good services stay in force.`);
      },
    });
    try {
      agent.serve(watch.routes);
      log.info(`${watch.routes.length} routes are served from ${options.services}`);
      await ticks(knobs.tickMs, signal, () => {
        const tick = agent.tick();
        const words = describe(tick);
        if (words !== undefined) log.info(words);
        options.onTick?.(tick);
        if (performance.now() < nextReconcile) return;
        nextReconcile = performance.now() + reconcileEveryMs;
        reconcile(reconciler, agent, log);
      });
      agent.stop();
      log.info('stopped; the dataplane stays and holds the field');
    } finally {
      watch.close();
    }
  } finally {
    own.release();
    plane.close();
  }
}

/** Calls `tick` at once and then on the node's own grid of `tickMs`, until aborted. */
async function ticks(tickMs: number, signal: AbortSignal, tick: () => void): Promise<void> {
  const phase = phaseMs(hostname(), tickMs);
  tick();
  while (!signal.aborted) {
    const now = performance.now();
    const next = Math.ceil((now + 1 - phase) / tickMs) * tickMs + phase;
    if (await pause(next - now, signal)) tick();
  }
}

/** False if it was cut short. */
function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve(!signal.aborted);
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
