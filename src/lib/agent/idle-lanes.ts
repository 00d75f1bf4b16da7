// Frees the lanes of clients that have left a route, for the clients that come: the kernel
// gives them out, and only the agent takes them back.
import { Limit } from '../dataplane/abi.js';
import type { RouteEntry } from '../dataplane/book.js';
import type { Plane } from '../dataplane/plane.js';

/** A lane in which nothing happened for so long is idle. */
const idleMs = 60_000;
/** Between two looks: a lane is freed so much later at most. */
const everyMs = 5_000;

interface LastEvent {
  /** The lane's counters at all backends of the route, added up. */
  readonly count: number;
  readonly atMs: number;
}

export class IdleLanes {
  private readonly last = new Map<string, LastEvent>();
  private nextMs = 0;
  private readonly read;

  constructor(plane: Plane) {
    const { lanes, backendLive, rtControl } = plane;
    this.read = {
      established: lanes.reader('established'),
      failed: lanes.reader('failed'),
      answered: lanes.reader('answered'),
      unserved: lanes.reader('unserved'),
      waiting: backendLive.elementReader('laneWaiting'),
      client: rtControl.elementReader('clients'),
      setClient: rtControl.writer('clients'),
    };
  }

  /**
   * Looks at the routes that several clients dial. The counters of a lane stay as they are:
   * they are compared with themselves, and a request that is sent at this moment must find
   * the count of those that wait.
   */
  free(routes: readonly RouteEntry[], nowMs: number): void {
    if (nowMs < this.nextMs) return;
    this.nextMs = nowMs + everyMs;
    const seen = new Set<string>();
    for (const route of routes) {
      const used: number[] = [];
      for (let lane = 0; lane < Limit.lanes; lane++) {
        if (this.read.client(route.index, lane) !== 0) used.push(lane);
      }
      if (used.length < 2) continue;
      for (const lane of used) {
        const name = `${route.index} ${this.read.client(route.index, lane)}`;
        seen.add(name);
        if (this.isIdle(name, route, lane, nowMs)) this.read.setClient(route.index, 0, lane);
      }
    }
    for (const name of this.last.keys()) if (!seen.has(name)) this.last.delete(name);
  }

  private isIdle(name: string, { backends }: RouteEntry, lane: number, nowMs: number): boolean {
    const { established, failed, answered, unserved, waiting } = this.read;
    let count = 0;
    let waits = 0;
    for (const { index } of backends.values()) {
      const at = index * Limit.lanes + lane;
      count += established(at) + failed(at) + answered(at) + unserved(at);
      waits += waiting(index, lane);
    }
    const last = this.last.get(name);
    if (last?.count === count && waits === 0) return nowMs - last.atMs >= idleMs;
    this.last.set(name, { count, atMs: nowMs });
    return false;
  }
}
