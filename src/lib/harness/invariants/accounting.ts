// accounting: every connect that was dialled is counted once, as sent to a backend or as
// refused with a reason.
import { Snapshot } from '../../dataplane/snapshot.js';
import type { Plane } from '../../dataplane/plane.js';
import type { Verdict } from '../invariant.js';
import { Tally } from './tally.js';

const words = {
  says: ({ seen }: { seen: number }) =>
    `${seen} connects were neither sent to a backend nor refused with a reason, or were both.`,
};

export function accounting(
  planes: readonly Plane[],
  dialled: number,
  moment: { readonly sequence: number; readonly atMs: number },
): Verdict {
  let counted = 0;
  for (const plane of planes) {
    for (const [name, count] of Object.entries(new Snapshot(plane).counters())) {
      if (/^(picked|refused)/.test(name)) counted += Number(count);
    }
  }
  const tally = new Tally('accounting');
  const sight = { seen: Math.abs(dialled - counted), limit: 0, backend: null };
  tally.note(sight, moment, '', words);
  return tally.verdict();
}
