// The operator's hand on the valve: overrides of one route or of all.
import { InputError, UnsafeError, UsageError } from '../errors.js';
import { nearest } from '../nearest.js';
import {
  budgetOf,
  clearOverride,
  readOverride,
  writeOverride,
  type AdmissionModeName,
  type Budget,
} from './control.js';
import { openPlane } from './pins.js';
import type { Plane } from './plane.js';
import { Snapshot, type RouteView } from './snapshot.js';

export interface SetModeOptions {
  readonly mode: AdmissionModeName | 'auto';
  readonly ttlMs: number;
  /** A route's name or one of its addresses; undefined for all routes. */
  readonly route: string | undefined;
  readonly budget: Budget | undefined;
  readonly dryRun: boolean;
  readonly expectEpoch: bigint | undefined;
}

export interface ModeChange {
  readonly route: string;
  /** The override before and after; null where the agent decides. */
  readonly before: AdmissionModeName | null;
  readonly after: AdmissionModeName | null;
}

/** Whether a filter names this route: by its name or one of its addresses. */
export function matchesRoute(view: RouteView, filter: string): boolean {
  return (
    view.name === filter || view.addresses.some(({ vip, port }) => `${vip}:${port}` === filter)
  );
}

/** The routes that a filter names; refuses a filter that names none. */
export function selectRoutes(views: readonly RouteView[], filter: string | undefined): RouteView[] {
  const chosen =
    filter === undefined ? [...views] : views.filter((view) => matchesRoute(view, filter));
  if (chosen.length > 0 || filter === undefined) return chosen;
  const meant = nearest(
    filter,
    views.map(({ name }) => name),
  );
  throw new InputError(
    `There is no route ${filter}.`,
    `${meant === undefined ? '' : `Did you mean ${meant}? `}Take a name or an address from \`nity inspect routes\`.`,
  );
}

/** The name of the one route that a name or an address stands for. */
export function routeNamed(pinPath: string, filter: string): string {
  const plane = openPlane(pinPath);
  try {
    return selectRoutes(new Snapshot(plane).routes(), filter)[0]?.name ?? filter;
  } finally {
    plane.close();
  }
}

function requireBudget(plane: Plane, view: RouteView, budget: Budget | undefined): void {
  const { tokenNs, burstNs } = plane.rtControl.read(view.index);
  if (budget !== undefined || budgetOf(tokenNs, burstNs) !== undefined) return;
  throw new UsageError(
    `${view.name} has no budget, so soft would gate nothing.`,
    'Give one with --rate, in connects a second.',
  );
}

/** Call it while holding the pin path's lock. Everything is checked before anything is written. */
export function setMode(plane: Plane, options: SetModeOptions): ModeChange[] {
  const epoch = plane.word('epoch');
  if (options.expectEpoch !== undefined && options.expectEpoch !== epoch) {
    throw new UnsafeError(
      `The epoch is ${epoch}, not ${options.expectEpoch}: somebody was faster.`,
      'Look at `nity inspect field` again, then decide.',
    );
  }
  const views = selectRoutes(new Snapshot(plane).routes(), options.route);
  if (options.mode === 'soft') for (const view of views) requireBudget(plane, view, options.budget);
  const nowNs = plane.nowNs();
  const expiresNs = nowNs + BigInt(options.ttlMs) * 1_000_000n;
  return views.map((view) => {
    const before = readOverride(plane, view.index, nowNs)?.mode ?? null;
    const after = options.mode === 'auto' ? null : options.mode;
    if (!options.dryRun) {
      if (options.mode === 'auto') clearOverride(plane, view.index);
      else {
        const { mode, budget } = options;
        writeOverride(plane, view.index, { mode, expiresNs, ...(budget ? { budget } : {}) });
      }
    }
    return { route: view.name, before, after };
  });
}
