// viscosity: a backend's slots change by no more than the viscosity's limit in a tick,
// except where an isolation frees slots or backends come and go.
import { strictness } from '../../field/regime.js';
import { frees, isStable, type Examiner, type RouteLook } from './examiner.js';

function limitOf({ view: { knobs }, before, field }: RouteLook): number {
  const fair = field.slots / Math.max(1, field.backends.length);
  const { viscosity } = strictness[before?.regime ?? 'laminar'];
  return Math.max(1, Math.floor(fair * knobs.viscosity * viscosity));
}

export const viscosity = (): Examiner => ({
  name: 'viscosity',
  look: (look) => {
    if (!isStable(look) || frees(look)) return null;
    let most = 0;
    let backend: string | null = null;
    for (const { id, before, slots } of look.field.backends) {
      if (Math.abs(slots - before) <= most) continue;
      most = Math.abs(slots - before);
      backend = id;
    }
    return { seen: most, limit: limitOf(look), backend };
  },
  says: ({ seen, limit, backend }) =>
    `${backend ?? 'A backend'} moved ${seen} slots in a tick, where ${limit} may be moved.`,
});
