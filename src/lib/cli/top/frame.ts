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
  readonly suspect: boolean;
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
  readonly slots: number;
  readonly picksPerSecond: number;
  readonly refusedPerSecond: number;
  readonly open: number;
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

/** The routes as rows; without an earlier reading every rate is zero. */
export function rowsOf(now: Reading, before: Reading | undefined): RouteRow[] {
  const elapsedMs = before === undefined ? 0 : now.atMs - before.atMs;
  const earlier = new Map(before?.routes.map((route) => [route.index, route]));
  return now.routes.map((route) => {
    const last = earlier.get(route.index);
    const was = last?.name === route.name ? last : undefined;
    return {
      route: route.name,
      mode: route.mode,
      overrideLeftMs: route.overrideLeftMs,
      gear: route.gear,
      slots: route.slots,
      picksPerSecond: perSecond(route.picks, was?.picks, elapsedMs),
      refusedPerSecond: perSecond(route.refused, was?.refused, elapsedMs),
      open: route.backends.reduce((sum, { open }) => sum + open, 0),
      ...recentQuantiles(now.latency, route.backends),
      backends: backendRows(now.latency, route, was, elapsedMs),
    };
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
    // Quantiles of one backend are asked for one route at a time: a getter, not a column.
    let quantiles: Quantiles | undefined;
    const asked = () => (quantiles ??= recentQuantiles(latency, [backend]));
    return {
      backend: backend.backend,
      state: backend.state,
      suspect: backend.suspect,
      slots: backend.slots,
      share: route.slots === 0 ? 0 : backend.slots / route.slots,
      open: backend.open,
      waiting: backend.waiting,
      picksPerSecond: perSecond(backend.picks, last?.picks, elapsedMs),
      failedPerSecond: perSecond(backend.failed, last?.failed, elapsedMs),
      get p50Us() {
        return asked().p50Us;
      },
      get p95Us() {
        return asked().p95Us;
      },
    };
  });
}
