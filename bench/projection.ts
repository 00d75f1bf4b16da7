// What the agent pays: writing a whole field, and flipping to it.
import { readField } from '../src/lib/dataplane/control.js';
import { flip } from '../src/lib/dataplane/flip.js';
import type { Dataplane } from './rig.js';
import { series, type Series } from './statistics.js';

export interface ProjectionTimes {
  /** Projector.project(): heartbeat, every slot of the other table, flip. */
  readonly projectMs: Series;
  /** Projector.setOwners() for every route before it: noting what is to be written. */
  readonly setOwnersMs: Series;
  /** The compare-and-swap that is the flip itself. */
  readonly flipEpochUs: Series;
  /** An operator's flip, with its checks and its reports of before and after. */
  readonly flipUs: Series;
}

function timedUs(action: () => void): number {
  const startNs = process.hrtime.bigint();
  action();
  return Number(process.hrtime.bigint() - startNs) / 1e3;
}

function requireAllWritten(dataplane: Dataplane, slots: number): () => void {
  return () => {
    const outcome = dataplane.projector.project();
    if (outcome.kind === 'projected' && outcome.slotsWritten === slots) return;
    throw new Error(`not all ${slots} slots were written: the projection was ${outcome.kind}`);
  };
}

export function measureProjection(
  dataplane: Dataplane,
  { rounds, warmUp, slots }: { readonly rounds: number; readonly warmUp: number; slots: number },
): ProjectionTimes {
  const { plane, projector } = dataplane;
  const times = { project: [] as number[], owners: [] as number[] };
  const flips = { epoch: [] as number[], operator: [] as number[] };
  const project = requireAllWritten(dataplane, slots);
  for (let round = -warmUp; round < rounds; round++) {
    const rings = dataplane.turnedRings();
    const ownersUs = timedUs(() => {
      dataplane.setRings(rings);
    });
    const projectUs = timedUs(project);
    if (round < 0) continue;
    times.owners.push(ownersUs / 1e3);
    times.project.push(projectUs / 1e3);
  }
  for (let round = -warmUp; round < rounds; round++) {
    const { epoch } = readField(plane);
    const epochUs = timedUs(() => {
      plane.flipEpoch(epoch, epoch + 1n);
    });
    const operatorUs = timedUs(() => {
      flip(plane, { holdMs: 0, force: false, dryRun: false });
    });
    if (round < 0) continue;
    flips.epoch.push(epochUs);
    flips.operator.push(operatorUs);
  }
  projector.follow();
  return {
    projectMs: series(times.project),
    setOwnersMs: series(times.owners),
    flipEpochUs: series(flips.epoch),
    flipUs: series(flips.operator),
  };
}
