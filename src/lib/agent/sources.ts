// Where the agent's routes come from, and how they reach it: a services file when it
// changes, or the cluster before each tick.
import type { Knobs } from '../config/knobs.js';
import { tableSize } from '../dataplane/book.js';
import type { Plane } from '../dataplane/plane.js';
import { InputError } from '../errors.js';
import type { Capacity } from '../kubernetes/assemble.js';
import type { ClusterAccess } from '../kubernetes/kubeconfig.js';
import type { Selection } from '../kubernetes/selection.js';
import type { ClusterStatus } from '../kubernetes/status.js';
import type { RouteSet } from '../routes/route-set.js';
import { ServicesWatch } from '../routes/services-watch.js';
import type { Agent, Tick } from './agent.js';
import type { AgentLog } from './log.js';
import { reportSocket, type AgentInput } from './report.js';
import type { Sensorium } from './sensorium.js';

export type RouteSource =
  | { readonly kind: 'file'; readonly path: string }
  | {
      readonly kind: 'cluster';
      readonly access: ClusterAccess;
      readonly selection: Selection;
      readonly nodeName: string;
    };

export interface Followed {
  /** Called before each tick, and after it. True if it has more for the next, which may come soon. */
  before(): boolean;
  after(tick: Tick): void;
  /** The source has said all its routes at least once, and they were handed over. */
  routesKnown(): boolean;
  close(): void | Promise<void>;
  readonly cluster?: () => ClusterStatus;
}

export interface Follower {
  readonly agent: Agent;
  readonly senses: Sensorium;
  readonly plane: Plane;
  readonly knobs: Knobs;
  readonly pinPath: string;
  readonly log: AgentLog;
  /** Null: the newest version of the input is in force. */
  readonly told: (input: AgentInput, rejected: string | null) => void;
}

export function follow(source: RouteSource, follower: Follower): Promise<Followed> {
  return source.kind === 'file'
    ? Promise.resolve(followFile(source.path, follower))
    : followCluster(source, follower);
}

function followFile(path: string, { agent, senses, log, told }: Follower): Followed {
  const serve = (routes: RouteSet) => {
    agent.serve(routes);
    senses.watch(routes);
  };
  const watch = new ServicesWatch(path, {
    changed(routes) {
      try {
        serve(routes);
        told('services', null);
        log.info(`${path} changed: ${routes.length} routes are served`);
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
  try {
    serve(watch.routes);
  } catch (error) {
    watch.close();
    throw error;
  }
  log.info(`${watch.routes.length} routes are served from ${path}`);
  return {
    before: () => false,
    after: () => undefined,
    // The file is read before the first tick.
    routesKnown: () => true,
    close: () => {
      watch.close();
    },
  };
}

function capacityOf(plane: Plane, { slotsPerRoute }: Knobs): Capacity {
  return {
    addresses: plane.routes.info().maxEntries,
    // Index 0 is nobody's.
    routes: plane.rtControl.length - 1,
    backends: plane.backends.length - 1,
    slots: plane.slotTables[0].length,
    slotsOf: (backends, fewest) => tableSize(backends, fewest ?? slotsPerRoute),
  };
}

/** Loaded only by who has a cluster. */
async function followCluster(
  { access, selection, nodeName }: Extract<RouteSource, { kind: 'cluster' }>,
  { agent, plane, knobs, pinPath, log }: Follower,
): Promise<Followed> {
  const { ClusterRoutes } = await import('../kubernetes/cluster.js');
  const capacity = capacityOf(plane, knobs);
  const cluster = await ClusterRoutes.open({
    access,
    selection,
    nodeName,
    log,
    capacity: () => capacity,
    endpointsFile: `${reportSocket(pinPath)}.api.json`,
  });
  log.info(`routes come from the cluster, for the node ${nodeName}`);
  cluster.start();
  return {
    before: () =>
      cluster.apply((routes, isWhole) => {
        agent.serve(routes, isWhole);
      }),
    after: ({ outcome, field, observed }) => {
      if (outcome.kind === 'projected' || outcome.kind === 'unchanged') cluster.programmed();
      // Where nothing is enforced nobody is refused, and no replica is wanted for it.
      cluster.see(field.routes.filter(({ name }) => observed.get(name)?.percent !== 0));
    },
    routesKnown: () => cluster.known,
    close: () => cluster.close(),
    cluster: () => cluster.status(),
  };
}
