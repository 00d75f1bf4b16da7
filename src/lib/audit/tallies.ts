// Counts the routes and backends of a tick by what the law says of them. One pass and
// no lists on the way: a node may serve ten thousands, and the agent waits meanwhile.
import type { Tick } from '../agent/agent.js';
import { admissionModes, regimes, type AdmissionMode, type Regime } from '../field/states.js';
import type { RouteField } from '../field/types.js';
import {
  backendStates,
  enforcedParts,
  isolationCauses,
  namedRoutes,
  scaleHints,
} from './catalogue.js';

type Counts<T extends string> = Record<T, number>;

function zeros<T extends string>(names: readonly T[]): Counts<T> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Counts<T>;
}

export interface Trouble {
  readonly route: string;
  readonly regime: Regime;
  readonly mode: AdmissionMode;
}

export class Tallies {
  readonly regimes = zeros(regimes);
  /** In force: the operator's where there is one. */
  readonly modes = zeros(admissionModes);
  readonly overrides = zeros(admissionModes);
  readonly hints = zeros(scaleHints);
  readonly states = zeros(backendStates);
  readonly isolated = zeros(isolationCauses);
  withoutBackends = 0;
  moving = 0;
  systemic = 0;
  conductance = 1;
  guard = 1;
  skew = 0;
  open = 0;
  waiting = 0;
  /** Routes on which not all is enforced. */
  readonly observed = zeros(enforcedParts);
  /** Backends of those on which nothing is, by the state that they would have. */
  readonly wouldBe = zeros(backendStates);
  private readonly enforced: { readonly route: string; readonly percent: number }[] = [];
  /** By gravity: the regime's place in its list, and twice the mode's. */
  private readonly troubles = new Map<number, Trouble[]>();

  constructor({ field, inputs, observed }: Tick) {
    field.routes.forEach((route, i) => {
      const override = inputs.routes[i]?.override ?? null;
      if (override !== null) this.overrides[override]++;
      const percent = observed.get(route.name)?.percent;
      if (percent !== undefined) {
        this.observed[percent === 0 ? 'none' : 'part']++;
        this.enforced.push({ route: route.name, percent });
      }
      if (percent === 0) this.onlyObserved(route, override ?? 'normal');
      else this.route(route, override ?? route.valve.mode);
    });
    for (const { backends } of inputs.routes) {
      for (const { openMean, waiting } of backends) {
        this.open += openMean ?? 0;
        this.waiting += waiting?.count ?? 0;
      }
    }
  }

  /** The worst of the routes that are not laminar and open; the first served of equals. */
  worst(): readonly Trouble[] {
    const grave = [...this.troubles.keys()].sort((a, b) => b - a);
    return grave.flatMap((gravity) => this.troubles.get(gravity) ?? []).slice(0, namedRoutes);
  }

  /** The routes of whose connects the fewest are enforced; the first served of equals. */
  leastEnforced(): readonly { readonly route: string; readonly percent: number }[] {
    return [...this.enforced].sort((a, b) => a.percent - b.percent).slice(0, namedRoutes);
  }

  /** What would be is no trouble: nothing of it is done. */
  private onlyObserved({ name, backends }: RouteField, mode: AdmissionMode): void {
    this.regimes.laminar++;
    this.modes[mode]++;
    if (backends.length === 0) this.withoutBackends++;
    this.states.healthy += backends.length;
    for (const { state } of backends) this.wouldBe[state]++;
    const gravity = 2 * admissionModes.indexOf(mode);
    if (gravity > 0) this.trouble(gravity, { route: name, regime: 'laminar', mode });
  }

  private route(route: RouteField, mode: AdmissionMode): void {
    const { name, regime, backends, motion, scaleHint } = route;
    this.regimes[regime]++;
    this.modes[mode]++;
    if (scaleHint !== null) this.hints[scaleHint]++;
    if (backends.length === 0) this.withoutBackends++;
    if (motion.moving) this.moving++;
    if (route.systemic) this.systemic++;
    this.conductance = Math.min(this.conductance, route.conductance);
    this.guard = Math.min(this.guard, motion.guard);
    this.skew = Math.max(this.skew, motion.skew);
    for (const { state, memory } of backends) {
      this.states[state]++;
      if (memory.circuit.kind === 'isolated') this.isolated[memory.circuit.cause]++;
    }
    const gravity = regimes.indexOf(regime) + 2 * admissionModes.indexOf(mode);
    if (gravity > 0) this.trouble(gravity, { route: name, regime, mode });
  }

  /** Of each gravity no more than could be named are kept. */
  private trouble(gravity: number, trouble: Trouble): void {
    const known = this.troubles.get(gravity);
    if (known === undefined) this.troubles.set(gravity, [trouble]);
    else if (known.length < namedRoutes) known.push(trouble);
  }
}
