// explained: whatever changes (slots, the valve, the regime, who is in command) has a
// reason that names it.
import type { Examiner, RouteLook } from './examiner.js';

function unexplained({ before, field, reasons, signals }: RouteLook): (string | null)[] {
  const slots = new Set<string>();
  const others = new Set<string>();
  for (const { change } of reasons) {
    if (change.of === 'slots') slots.add(`${change.backend} ${change.from} ${change.to}`);
    else others.add(change.of);
  }
  const silent: (string | null)[] = field.backends
    .filter(({ id, before: from, slots: to }) => from !== to && !slots.has(`${id} ${from} ${to}`))
    .map(({ id }) => id);
  if (before === undefined) return silent;
  if (before.valve.mode !== field.valve.mode && !others.has('admission')) silent.push(null);
  if (before.regime !== field.regime && !others.has('regime')) silent.push(null);
  if (before.overridden !== signals.override && !others.has('override')) silent.push(null);
  return silent;
}

export const explained = (): Examiner => ({
  name: 'explained',
  look: (look) => {
    const silent = unexplained(look);
    return { seen: silent.length, limit: 0, backend: silent[0] ?? null };
  },
  says: ({ backend }) =>
    `${backend === null ? 'The route’s valve, regime or override' : `${backend}’s slots`} changed without a reason.`,
});
