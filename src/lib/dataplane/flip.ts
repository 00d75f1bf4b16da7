// The operator's flip: swap to the other table, which rolls back one projection,
// and ask the agent not to undo it at once.
import { UnsafeError } from '../errors.js';
import { readField, type FieldStatus } from './control.js';
import { otherTable, rangeOf, tableOf, type Plane } from './plane.js';

export interface FlipOptions {
  readonly holdMs: number;
  /** Flip although no agent is alive; the held epoch moves too, or the kernel would ignore it. */
  readonly force: boolean;
  /** Refuse if the epoch is another by now. */
  readonly expectEpoch?: bigint | undefined;
  readonly dryRun: boolean;
}

export interface FlipReport {
  readonly before: FieldStatus;
  readonly after: FieldStatus;
}

/** Being written, or from before a route that is served now: connects could find no slot in it. */
function isIncomplete(plane: Plane, target: 0 | 1): boolean {
  if (plane.tableEpoch(target) === 0n) return true;
  for (let index = 1; index < plane.rtControl.length; index++) {
    if (plane.routeNames.get(index, 'name') === '') continue;
    const ranges = plane.rtControl.get(index, 'slotRange').map(rangeOf);
    const held = (table: 0 | 1) => (ranges[table]?.size ?? 0) > 0;
    if (held(otherTable(target)) && !held(target)) return true;
  }
  return false;
}

/** Call it while holding the pin path's lock, as the agent does when it projects. */
export function flip(plane: Plane, options: FlipOptions): FlipReport {
  const before = readField(plane);
  const { epoch } = before;
  const target = otherTable(tableOf(epoch));
  if (options.expectEpoch !== undefined && options.expectEpoch !== epoch) {
    throw new UnsafeError(
      `The epoch is ${epoch}, not ${options.expectEpoch}: somebody flipped first.`,
      'Look at `nity inspect field` again, then decide.',
    );
  }
  if (isIncomplete(plane, target)) {
    throw new UnsafeError(
      `Table ${target === 0 ? 'A' : 'B'} is incomplete, so connects decided by it could find no backend.`,
      'Wait for the next projection of a running agent; an incomplete table cannot be forced.',
    );
  }
  if (before.failsafeMode !== 'normal' && !options.force) {
    throw new UnsafeError(
      `The agent is stale (${before.failsafeMode}), so the kernel would ignore this flip until a heartbeat.`,
      'Start an agent first, or flip the held epoch too with --force.',
    );
  }
  if (options.dryRun) {
    const next = epoch + 1n;
    return {
      before,
      after: {
        ...before,
        epoch: next,
        heldEpoch: options.force ? next : before.heldEpoch,
        activeTable: target === 0 ? 'A' : 'B',
      },
    };
  }
  // The hold comes first: an agent that sees the flip must see why not to undo it.
  plane.setWord('projectionHeldUntilNs', plane.nowNs() + BigInt(options.holdMs) * 1_000_000n);
  plane.setTableEpoch(target, epoch + 1n);
  if (!plane.flipEpoch(epoch, epoch + 1n)) {
    throw new UnsafeError(
      'Another flip came in between.',
      'Look at `nity inspect field`, then decide.',
    );
  }
  if (options.force) plane.setWord('heldEpoch', epoch + 1n);
  return { before, after: readField(plane) };
}
