// What `nity top` knows at one moment: two readings of the maps made into rates, and
// what the agent and the node's sensors add. Pure: no terminal, no clock.
import type { Changes, DatedReason, ExplainedRoute } from '../../agent/report.js';
import {
  recentQuantiles,
  type BackendPulse,
  type Quantiles,
  type Reading,
  type RoutePulse,
} from '../../dataplane/pulse.js';
import type { Stalls } from '../../field/signals.js';

export interface BackendRow extends Quantiles {
  readonly backend: string;
  readonly state: BackendPulse['state'];
  /** For every client; or for one, whose own connects failed. */
  readonly suspect: boolean;
  readonly suspectForOne: boolean;
  readonly slots: number;
  readonly share: number;
  readonly open: number;
  readonly waiting: number;
  readonly picksPerSecond: number;
  readonly failedPerSecond: number;
}

export interface RouteRow extends Quantiles {
  readonly route: string;
  readonly mode: RoutePulse['mode'];
  readonly overrideLeftMs: number | null;
  readonly gear: RoutePulse['gear'];
  readonly enforcedPercent: number;
  readonly slots: number;
  readonly picksPerSecond: number;
  readonly refusedPerSecond: number;
  readonly open: number;
  readonly backendCount: number;
  readonly backends: readonly BackendRow[];
}

export interface TopFrame {
  readonly host: string;
  readonly field: Reading['field'];
  readonly regime: Reading['regime'];
  readonly latency: Reading['latency'];
  readonly routes: readonly RouteRow[];
  /** Null where the kernel's own sensors cannot be read. */
  readonly stalls: Stalls | null;
  /** Null when no agent answers. */
  readonly agent: Omit<Changes, 'changes' | 'schemaVersion'> | null;
  /** Latest first; kept when the agent is gone. */
  readonly changes: readonly DatedReason[];
  /** What the agent says of the route that is looked into. */
  readonly explained: ExplainedRoute | null;
}

/** Growth of a count in a second; nothing if it went back, for then it is another's. */
function perSecond(now: number, before: number | undefined, elapsedMs: number): number {
  if (before === undefined || elapsedMs <= 0 || now < before) return 0;
  return ((now - before) * 1000) / elapsedMs;
}

/**
 * A node may have ten thousand backends, of which a terminal shows a hundred: what a row
 * says of its backends, and their quantiles, is made when it is asked for.
 */
class Row implements RouteRow {
  readonly route: string;
  readonly mode: RoutePulse['mode'];
  readonly overrideLeftMs: number | null;
  readonly gear: RoutePulse['gear'];
  readonly enforcedPercent: number;
  readonly slots: number;
  readonly picksPerSecond: number;
  readonly refusedPerSecond: number;
  readonly open: number;
  readonly backendCount: number;
  private quantiles: Quantiles | undefined;
  private rows: readonly BackendRow[] | undefined;

  constructor(
    private readonly now: RoutePulse,
    private readonly was: RoutePulse | undefined,
    private readonly latency: Reading['latency'],
    private readonly elapsedMs: number,
  ) {
    this.route = now.name;
    this.mode = now.mode;
    this.overrideLeftMs = now.overrideLeftMs;
    this.gear = now.gear;
    this.enforcedPercent = now.enforcedPercent;
    this.slots = now.slots;
    this.picksPerSecond = perSecond(now.picks, was?.picks, elapsedMs);
    this.refusedPerSecond = perSecond(now.refused, was?.refused, elapsedMs);
    this.backendCount = now.backends.length;
    let open = 0;
    for (const backend of now.backends) open += backend.open;
    this.open = open;
  }

  get p50Us(): number | null {
    return this.ofAll().p50Us;
  }

  get p95Us(): number | null {
    return this.ofAll().p95Us;
  }

  get backends(): readonly BackendRow[] {
    return (this.rows ??= backendRows(this.latency, this.now, this.was, this.elapsedMs));
  }

  /** As a document has it. */
  toJSON(): Omit<RouteRow, 'backendCount'> {
    const { route, mode, overrideLeftMs, gear, slots, picksPerSecond, refusedPerSecond } = this;
    const { enforcedPercent, open, p50Us, p95Us, backends } = this;
    return {
      ...{ route, mode, overrideLeftMs, gear, slots, picksPerSecond, refusedPerSecond },
      ...{ enforcedPercent, open, p50Us, p95Us, backends },
    };
  }

  private ofAll(): Quantiles {
    return (this.quantiles ??= recentQuantiles(this.latency, this.now.backends));
  }
}

/** The routes as rows; without an earlier reading every rate is zero. */
export function rowsOf(now: Reading, before: Reading | undefined): RouteRow[] {
  const elapsedMs = before === undefined ? 0 : now.atMs - before.atMs;
  const earlier = new Map(before?.routes.map((route) => [route.index, route]));
  return now.routes.map((route) => {
    const last = earlier.get(route.index);
    return new Row(route, last?.name === route.name ? last : undefined, now.latency, elapsedMs);
  });
}

function backendRows(
  latency: Reading['latency'],
  route: RoutePulse,
  was: RoutePulse | undefined,
  elapsedMs: number,
): BackendRow[] {
  const earlier = new Map(was?.backends.map((backend) => [backend.backend, backend]));
  return route.backends.map((backend) => {
    const last = earlier.get(backend.backend);
    return {
      backend: backend.backend,
      state: backend.state,
      suspect: backend.suspect,
      suspectForOne: backend.suspectForOne,
      slots: backend.slots,
      share: route.slots === 0 ? 0 : backend.slots / route.slots,
      open: backend.open,
      waiting: backend.waiting,
      picksPerSecond: perSecond(backend.picks, last?.picks, elapsedMs),
      failedPerSecond: perSecond(backend.failed, last?.failed, elapsedMs),
      ...recentQuantiles(latency, [backend]),
    };
  });
}
