// Watches the law: looks at each tick with every invariant, and keeps the verdicts.
// The simulation and replay use all of them; the running agent those of safety.
import type { Reason } from '../../field/reasons.js';
import type { RouteField } from '../../field/types.js';
import type { TickView, Verdict, Violation } from '../invariant.js';
import { noBlackhole } from './blackhole.js';
import { boundary } from './boundary.js';
import { conservation } from './conservation.js';
import type { Examiner, RouteLook } from './examiner.js';
import { explained } from './explained.js';
import { boundedFlapping } from './flapping.js';
import { maxIsolation } from './isolation.js';
import { monotonicSkew } from './skew.js';
import { Tally } from './tally.js';
import { viscosity } from './viscosity.js';

const ofSafety = [conservation, boundary, noBlackhole, maxIsolation] as const;
const ofConduct = [viscosity, explained, boundedFlapping, monotonicSkew] as const;

/** `safety`: those whose breach would reach connects; a field that breaks one is not projected. */
export type Scope = 'safety' | 'all';

function byRoute(reasons: readonly Reason[]): ReadonlyMap<string, readonly Reason[]> {
  const all = new Map<string, Reason[]>();
  for (const reason of reasons) {
    if (!('route' in reason.change)) continue;
    const { route } = reason.change;
    const known = all.get(route);
    if (known === undefined) all.set(route, [reason]);
    else known.push(reason);
  }
  return all;
}

export class InvariantMonitor {
  private readonly watched: readonly { readonly examiner: Examiner; readonly tally: Tally }[];
  private served: readonly RouteField[] = [];

  constructor(scope: Scope = 'all') {
    const makers = scope === 'safety' ? ofSafety : [...ofSafety, ...ofConduct];
    this.watched = makers.map((make) => {
      const examiner = make();
      return { examiner, tally: new Tally(examiner.name) };
    });
  }

  /** What the tick broke; a route at rest is what it was, and costs one comparison. */
  see(view: TickView): readonly Violation[] {
    const { routes } = view.field;
    const reasons = byRoute(view.reasons);
    const violations: Violation[] = [];
    routes.forEach((field, i) => {
      const before = view.before.routes.get(field.name);
      const signals = view.inputs.routes[i];
      if (before?.rest === field || signals === undefined) return;
      const look = { view, before, signals, field, reasons: reasons.get(field.name) ?? [] };
      for (const watched of this.watched) violations.push(...this.examine(watched, look));
    });
    this.forgetOthers(routes);
    return violations;
  }

  /** One of each invariant, in a fixed order. */
  verdicts(): Verdict[] {
    return this.watched.map(({ tally }) => tally.verdict());
  }

  private examine(
    { examiner, tally }: { readonly examiner: Examiner; readonly tally: Tally },
    look: RouteLook,
  ): Violation[] {
    const sight = examiner.look(look);
    if (sight === null) return [];
    const violation = tally.note(sight, look.view, look.field.name, examiner);
    return violation === null ? [] : [violation];
  }

  private forgetOthers(routes: readonly RouteField[]): void {
    const { served } = this;
    this.served = routes;
    const same =
      served.length === routes.length && served.every(({ name }, i) => name === routes[i]?.name);
    if (same) return;
    const names = new Set(routes.map(({ name }) => name));
    for (const { name } of served) {
      if (names.has(name)) continue;
      for (const { examiner } of this.watched) examiner.forget?.(name);
    }
  }
}
