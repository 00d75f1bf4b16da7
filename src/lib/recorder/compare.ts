// What a tick said when it was recorded, beside what the same law says now.
import type { Reason } from '../field/reasons.js';
import type { StepResult } from '../field/types.js';
import type { Digester } from './digest.js';
import type { RecordedTick } from './reader.js';
import { reasons as reasonsShape } from './shapes.js';
import { outputOf } from './writer.js';

export interface Divergence {
  readonly sequence: number;
  readonly atMs: number;
  readonly route: string | null;
  readonly backend: string | null;
  /** What differs: a part of the field by its name, `reasons`, or the hash of the rest. */
  readonly field: string;
  readonly expected: string;
  readonly got: string;
}

type Difference = Omit<Divergence, 'sequence' | 'atMs'>;

/** Slots that were not projected were not told of either; neither are they compared. */
export function toldReasons(
  reasons: readonly Reason[],
  outcome: RecordedTick['outcome'],
): readonly Reason[] {
  return outcome === 'late' || outcome === 'held'
    ? reasons.filter(({ change }) => change.of !== 'slots')
    : reasons;
}

export function isOf({ change }: Reason, route: string): boolean {
  return change.of !== 'hold' && change.route === route;
}

/** The first difference, from what an operator sees to what only the law knows. */
export function difference(
  tick: RecordedTick,
  result: StepResult,
  digester: Digester,
  only: string | undefined,
): Difference | null {
  return (
    visibleDifference(tick, result, digester, only) ??
    hiddenDifference(tick, result, digester, only)
  );
}

/** Of slots, states, modes, regimes, gears, budgets and reasons. */
export function visibleDifference(
  tick: RecordedTick,
  { field, reasons }: StepResult,
  digester: Digester,
  only: string | undefined,
): Difference | null {
  for (const [i, route] of field.routes.entries()) {
    if (only !== undefined && route.name !== only) continue;
    const expected = tick.outputs[i];
    if (expected === undefined) return differs(route.name, null, 'route', 'none', route.name);
    const got = outputOf(route, digester);
    const ids = route.backends.map(({ id }) => id);
    const found =
      listDiffers(route.name, ids, 'slots', expected.slots, got.slots) ??
      listDiffers(route.name, ids, 'state', expected.states, got.states) ??
      differs(route.name, null, 'mode', expected.mode, got.mode) ??
      differs(route.name, null, 'regime', expected.regime, got.regime) ??
      differs(route.name, null, 'gear', expected.gear, got.gear) ??
      differs(route.name, null, 'budgetPerSecond', expected.budgetPerSecond, got.budgetPerSecond);
    if (found !== null) return found;
  }
  const told = toldReasons(reasons, tick.outcome);
  const found = reasonsDiffer(
    only === undefined ? tick.reasons : tick.reasons.filter((reason) => isOf(reason, only)),
    only === undefined ? told : told.filter((reason) => isOf(reason, only)),
  );
  if (found !== null || only !== undefined) return found;
  return differs(null, null, 'regime', tick.node.regime, field.node.regime);
}

function hiddenDifference(
  tick: RecordedTick,
  { state, field }: StepResult,
  digester: Digester,
  only: string | undefined,
): Difference | null {
  for (const [i, route] of field.routes.entries()) {
    if (only !== undefined && route.name !== only) continue;
    const expected = tick.outputs[i]?.digest ?? new Uint8Array();
    const found = differs(
      route.name,
      null,
      'field hash',
      hex(expected),
      hex(digester.field(route)),
    );
    if (found !== null) return found;
  }
  if (only !== undefined) return null;
  return (
    differs(null, null, 'node hash', hex(tick.node.digest), hex(digester.node(field.node))) ??
    differs(null, null, 'state hash', hex(tick.stateDigest), hex(digester.state(state)))
  );
}

type Scalar = string | number | null;

function differs(
  route: string | null,
  backend: string | null,
  field: string,
  expected: Scalar,
  got: Scalar,
): Difference | null {
  if (Object.is(expected, got)) return null;
  return { route, backend, field, expected: String(expected), got: String(got) };
}

function listDiffers(
  route: string,
  ids: readonly string[],
  field: string,
  expected: readonly Scalar[],
  got: readonly Scalar[],
): Difference | null {
  const most = Math.max(expected.length, got.length);
  for (let i = 0; i < most; i++) {
    const found = differs(route, ids[i] ?? null, field, expected[i] ?? null, got[i] ?? null);
    if (found !== null) return found;
  }
  return null;
}

function reasonsDiffer(expected: readonly Reason[], got: readonly Reason[]): Difference | null {
  if (reasonsShape.same(expected, got)) return null;
  const most = Math.max(expected.length, got.length);
  for (let i = 0; i < most; i++) {
    const [then, now] = [expected[i], got[i]];
    if (then !== undefined && now !== undefined && reasonsShape.same([then], [now])) continue;
    const change = (now ?? then)?.change;
    return {
      route: change === undefined || change.of === 'hold' ? null : change.route,
      backend: change?.of === 'slots' ? change.backend : null,
      field: 'reasons',
      expected: then === undefined ? 'none' : JSON.stringify(then),
      got: now === undefined ? 'none' : JSON.stringify(now),
    };
  }
  return null;
}

export function hex(digest: Uint8Array): string {
  return Buffer.from(digest).toString('hex');
}
