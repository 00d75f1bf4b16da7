// The agent's loop: on each tick a heartbeat, the signals, one step of the law,
// and the projection of its field. It knows no terminal and no file.
import type { Knobs } from '../config/knobs.js';
import { Regime } from '../dataplane/abi.js';
import type { BackendEntry, RouteEntry } from '../dataplane/book.js';
import type { RegimeName } from '../dataplane/control.js';
import { thresholds } from '../dataplane/initialise.js';
import type { Plane } from '../dataplane/plane.js';
import { Projector, type ProjectionOutcome } from '../dataplane/projector.js';
import { gravestRegime } from '../field/regime.js';
import { BrokenBookError, errnoOf, InputError, messageOf, NityError } from '../errors.js';
import { assignRing } from '../field/ring.js';
import { nothingSensed, type AppSummary, type NodeSignals } from '../field/signals.js';
import { freshState, step, type Law } from '../field/step.js';
import { InvariantMonitor } from '../harness/invariants/monitor.js';
import type { Violation } from '../harness/invariant.js';
import type {
  BackendField,
  DialOutcome,
  Field,
  FieldState,
  Inputs,
  RouteField,
  RouteSignals,
  ValveField,
} from '../field/types.js';
import type { Reason } from '../field/reasons.js';
import { enforcedPercent } from '../routes/enforce.js';
import type { RouteName, RouteSet } from '../routes/route-set.js';
import { KernelCounters, type Beside } from '../sensors/kernel-counters.js';
import { IdleLanes } from './idle-lanes.js';
import { ObservedRoute, type Observing } from './observing.js';
import { sampling, type Rates } from './sampling.js';

export interface Tick {
  readonly sequence: number;
  readonly atNs: bigint;
  readonly outcome:
    | ProjectionOutcome
    | { readonly kind: 'held' | 'busy' | 'late' }
    /** No field could be projected, for this reason. */
    | { readonly kind: 'unsafe'; readonly why: string };
  /** The knobs, the memory and the signals that the step began with, and the memory it left. */
  readonly knobs: Knobs;
  readonly before: FieldState;
  readonly inputs: Inputs;
  readonly state: FieldState;
  readonly field: Field;
  /** What was changed, and why; of a field that was not projected, no slots. */
  readonly reasons: readonly Reason[];
  /** What the field broke of the invariants of safety. */
  readonly violations: readonly Violation[];
  /** Routes on which not all of the field is enforced. */
  readonly observed: ReadonlyMap<string, Observing>;
  /** How long the tick took, from its first reading to its last write. */
  readonly tookMs: number;
}

/**
 * Runs `change` as the only one who changes the field, or returns undefined if another does.
 * Throws if the dataplane was unloaded under the agent.
 */
export type Exclusively = <T>(change: () => T) => T | undefined;

/** A backend that the agent dials itself. */
export interface Dialled {
  readonly route: string;
  /** "ip:port". */
  readonly backend: string;
}

/** What the agent senses beside the kernel's counters. */
export interface Senses {
  /** `mostOpen` is the count of open connections of the backend that has the most. */
  node(lagMs: number, mostOpen: number): NodeSignals;
  app(route: string, backend: string): AppSummary | null;
  /** What its own connect to a backend met, if it made one of late. */
  dial(route: string, backend: string): DialOutcome | null;
  /** The backends that it is to dial from now on, and no others. */
  dialNext(wanted: readonly Dialled[]): void;
  /** Whether applications can be heard at all. */
  readonly hearsApps: boolean;
}

const noSenses: Senses = {
  node: (lagMs) => ({ ...nothingSensed('no sensors are attached'), loopLagMs: lagMs }),
  app: () => null,
  dial: () => null,
  dialNext: () => undefined,
  hearsApps: false,
};

export interface AgentOptions {
  readonly plane: Plane;
  readonly knobs: Knobs;
  readonly exclusively: Exclusively;
  readonly senses?: Senses;
  /** A node's own number, so that nodes do not begin their rings alike. */
  readonly phase?: number;
  /** Of a hundred connects, those that are enforced, where a namespace has its own word. */
  readonly enforceNamespaces?: ReadonlyMap<string, number>;
  /** The law; another only where the watch over it is put to the test. */
  readonly law?: Law;
}

const openValve: ValveCommand = { mode: 'normal', budgetPerSecond: null, burst: 1 };

type ValveCommand = Pick<ValveField, 'mode' | 'budgetPerSecond' | 'burst'>;

/** Time constant of the flow rates that sampling goes by. */
const rateTicks = 10;
/** Ticks over which the usual time of a tick is learned. */
const usualTicks = 10;

/**
 * Backends whose connects fail: the agent dials them itself, so that no client need find out
 * whether they are back, and so that one client's trouble is not taken for theirs.
 */
function toDial(fields: readonly RouteField[], signals: readonly RouteSignals[]): Dialled[] {
  const wanted: Dialled[] = [];
  fields.forEach((route, i) => {
    // At rest nothing fails.
    const seen = signals[i];
    if (seen === undefined || (route.regime === 'laminar' && seen.clients < 2)) return;
    const own: Dialled[] = [];
    let well: Dialled | undefined;
    route.backends.forEach(({ id, memory: { circuit } }, j) => {
      const fails = (seen.backends[j]?.consecutiveFailures ?? 0) > 0;
      if (!fails && circuit.kind !== 'isolated') well ??= { route: route.name, backend: id };
      const isOut = circuit.kind === 'isolated' && circuit.cause === 'errors';
      if (fails && (isOut || seen.clients > 1)) own.push({ route: route.name, backend: id });
    });
    // One that is well, to tell whether the agent can reach any of them at all.
    if (own.length > 0 && well !== undefined) wanted.push(well, ...own);
  });
  return wanted;
}

function slotsOf({ backends }: RouteField): ReadonlyMap<string, number> {
  return new Map(backends.map(({ id, slots }) => [id, slots]));
}

export class Agent {
  readonly projector: Projector;
  private readonly plane: Plane;
  private readonly exclusively: Exclusively;
  private readonly senses: Senses;
  private readonly phase: number;
  private readonly law: Law;
  private readonly safety = new InvariantMonitor('safety');
  private readonly startedNs: bigint;
  private readonly counters: KernelCounters;
  private readonly idleLanes: IdleLanes;
  /** The field that each route's part of the maps was last set to. */
  private readonly commanded = new Map<number, RouteField>();
  private readonly rates = new Map<string, Rates>();
  private readonly enforceNamespaces: ReadonlyMap<string, number>;
  /** Another one for each change: a tick keeps what it went by. */
  private observed: ReadonlyMap<string, ObservedRoute> = new Map();
  private knobs: Knobs;
  private state: FieldState = freshState;
  private sequence = 0;
  private usualMs: number | undefined;
  /** What the book's record contradicted; nothing is built on it any more. */
  private broken: string | undefined;
  private lastNs: bigint;
  /** The last tick, for whoever asks why the field is as it is. */
  last: Tick | undefined;

  constructor(options: AgentOptions) {
    const { plane, knobs, exclusively, senses = noSenses, phase = 0, law = step } = options;
    this.plane = plane;
    this.knobs = knobs;
    this.exclusively = exclusively;
    this.senses = senses;
    this.phase = phase;
    this.law = law;
    this.enforceNamespaces = options.enforceNamespaces ?? new Map<string, number>();
    this.projector = new Projector(plane, {
      slotsPerRoute: knobs.slotsPerRoute,
      defaultGear: 'twin',
    });
    this.counters = new KernelCounters(plane);
    this.idleLanes = new IdleLanes(plane);
    this.startedNs = plane.nowNs();
    this.lastNs = this.startedNs;
    plane.fieldState.write(0, thresholds(knobs));
    plane.fieldState.write(0, { agentPid: process.pid, agentStartedNs: this.startedNs });
  }

  /** New knobs hold from the next tick on. */
  retune(knobs: Knobs): void {
    const { enforcePercent } = this.knobs;
    this.knobs = knobs;
    this.plane.fieldState.write(0, thresholds(knobs));
    if (knobs.enforcePercent === enforcePercent) return;
    this.enforce([...this.projector.book.routes.values()]);
  }

  /**
   * What is to be served from now on; throws, and changes nothing, if it does not fit. Of a
   * set that is not whole yet, what is missing stays as it is. Where the book contradicts
   * itself, every tick from then on says so, and projects nothing.
   */
  serve(routes: RouteSet, isWhole = true): void {
    try {
      this.reconcile(routes, isWhole);
    } catch (error) {
      if (!(error instanceof BrokenBookError)) throw error;
      this.broken = error.message;
    }
  }

  private reconcile(routes: RouteSet, isWhole: boolean): void {
    const { book } = this.projector;
    const changed = this.projector.reconcile(routes, isWhole);
    if (changed.length === 0) return;
    for (const { index } of changed) this.commanded.delete(index);
    this.enforce(changed);
    const { retired, routes: known } = book;
    // What was counted of those that left, and of those that had the indices before.
    this.counters.forget([...retired.map(({ index }) => index), ...book.takeOpened()]);
    // What a tick took with other routes says nothing of what it takes with these.
    if (changed.length * 2 > known.size) this.usualMs = undefined;
  }

  /** How much of the field is done on these routes from the next tick on. */
  private enforce(entries: readonly RouteEntry[]): void {
    const observed = new Map(this.observed);
    for (const entry of entries) this.enforceOn(entry, observed);
    this.observed = observed;
  }

  private enforceOn(entry: RouteEntry, all: Map<string, ObservedRoute>): void {
    const { name, asked } = entry;
    const known = all.get(name);
    if (asked === undefined) {
      all.delete(name);
      return;
    }
    const percent = enforcedPercent(asked, this.enforceNamespaces, this.knobs.enforcePercent);
    if (percent === (known?.percent ?? 100)) return;
    this.commanded.delete(entry.index);
    if (percent < 100) {
      if (known === undefined) all.set(name, new ObservedRoute(percent, entry.owners));
      else known.percent = percent;
      return;
    }
    all.delete(name);
    // The law's slots are in force at once: whoever says so has seen them.
    const size = this.projector.ring(entry).length;
    if (known !== undefined) this.projector.setOwners(entry, known.resized(size));
  }

  /** The owners that the law goes by: those in force, but for a route that is observed. */
  private ring(entry: RouteEntry): Uint32Array {
    const inForce = this.projector.ring(entry);
    return this.observed.get(entry.name)?.resized(inForce.length) ?? inForce;
  }

  /** The indices of all backends that are served. */
  backendIndexes(): number[] {
    return [...this.projector.book.routes.values()].flatMap(({ backends }) =>
      [...backends.values()].map(({ index }) => index),
    );
  }

  /** How many service addresses are served. */
  addressCount(): number {
    let count = 0;
    for (const { addresses } of this.projector.book.routes.values()) count += addresses.size;
    return count;
  }

  /** Whether this backend is served for this route. */
  serves(route: string, backend: string): boolean {
    const entry = this.projector.book.routes.get(route as RouteName);
    return entry !== undefined && !entry.removed && entry.backends.has(backend);
  }

  /** One tick of the control loop, which the clock called `lagMs` late. */
  tick(lagMs = 0): Tick {
    const startNs = this.plane.nowNs();
    const dtMs = Number(startNs - this.lastNs) / 1e6;
    this.lastNs = startNs;
    this.sequence++;
    // Slots that another's flip brought back are the current ones of this tick already.
    if (this.projector.follow()) this.commanded.clear();

    const served = [...this.projector.book.routes.values()].filter(({ removed }) => !removed);
    const rings = served.map((entry) => this.ring(entry));
    const node = this.senses.node(lagMs, this.counters.mostOpen(served));
    const beside = this.beside(node);
    const routes = served.map((entry, i) =>
      this.counters.route(entry, rings[i] ?? entry.owners, beside),
    );
    this.idleLanes.free(served, Number(startNs - this.startedNs) / 1e6);
    const held = this.plane.word('projectionHeldUntilNs') > startNs;
    const inputs: Inputs = { dtMs, held, node, routes };
    const { knobs, state: before } = this;
    const { state, field, reasons } = this.law(before, inputs, knobs);
    this.senses.dialNext(toDial(field.routes, routes));
    const { sequence } = this;
    const atMs = Number(startNs - this.startedNs) / 1e6;
    const stepped = { sequence, atMs, knobs, inputs, before, state, field, reasons };
    const violations = this.safety.see(stepped);

    const done = (outcome: Tick['outcome'], told: readonly Reason[]): Tick => {
      const tookMs = Number(this.plane.nowNs() - startNs) / 1e6;
      this.last = {
        sequence: this.sequence,
        atNs: startNs,
        outcome,
        knobs,
        before,
        inputs,
        state,
        field,
        reasons: told,
        violations,
        observed: this.observed,
        tookMs,
      };
      return this.last;
    };
    // A law that breaks its promises is as good as a dead agent: the field in force stays,
    // without a heartbeat, so that the kernel goes to HOLD and FALLBACK if it lasts.
    const [violation] = violations;
    if (violation !== undefined) return done({ kind: 'unsafe', why: inWords(violation) }, []);
    if (this.broken !== undefined) return done({ kind: 'unsafe', why: this.broken }, []);
    // What was learned stays learned; a heartbeat belongs to every tick, whatever its field.
    this.state = state;
    this.seeObserved(field, routes, dtMs);
    const states = reasons.filter(({ change }) => change.of !== 'slots');
    const interrupted = this.wasInterrupted(Number(this.plane.nowNs() - startNs) / 1e6);
    if (interrupted || held) {
      // No slots to change; but who has the right to also learns if the dataplane is gone.
      this.exclusively(() => {
        if (!interrupted) this.projector.settleAddresses();
      });
      this.projector.heartbeat();
      return done({ kind: interrupted ? 'late' : 'held' }, states);
    }
    served.forEach((entry, i) => {
      const route = field.routes[i];
      const signals = routes[i];
      if (route === undefined || signals === undefined) return;
      // A route at rest has the field that the kernel was given before.
      if (this.commanded.get(entry.index) === route) return;
      this.commanded.set(entry.index, route);
      this.sample(entry, signals, dtMs);
      this.command(entry, route, rings[i] ?? entry.owners);
    });
    const regime = Regime[this.regimeInForce(field)];
    if (this.plane.fieldState.get(0, 'regime') !== regime) {
      this.plane.fieldState.write(0, { regime });
    }
    const outcome = this.project();
    return done(outcome, outcome.kind === 'unsafe' ? [] : reasons);
  }

  private project(): Tick['outcome'] {
    try {
      const outcome = this.exclusively(() => this.projector.project());
      if (outcome !== undefined) return outcome;
      this.projector.heartbeat();
      return { kind: 'busy' };
    } catch (error) {
      // Tried again on the next tick, unless the book is broken. What else is thrown ends the agent.
      if (error instanceof BrokenBookError) this.broken = error.message;
      else if (!isOfTheMaps(error)) throw error;
      return { kind: 'unsafe', why: messageOf(error) };
    }
  }

  /** The gravest of the routes on which something is enforced. */
  private regimeInForce({ node, routes }: Field): RegimeName {
    if (this.observed.size === 0) return node.regime;
    const enforced = routes.filter(({ name }) => this.observed.get(name)?.percent !== 0);
    return gravestRegime(enforced.map(({ regime }) => regime));
  }

  /**
   * Computed before a long pause (SIGSTOP, a starved CPU), a field is about the past. A node
   * on which every tick takes long has no pauses, and is served as often as can be.
   */
  private wasInterrupted(computedMs: number): boolean {
    const usualMs = this.usualMs ?? computedMs;
    const interrupted = computedMs > this.knobs.tickMs && computedMs > 3 * usualMs;
    this.usualMs = usualMs + (Math.min(computedMs, 3 * usualMs) - usualMs) / usualTicks;
    return interrupted;
  }

  private beside({ cgroups }: NodeSignals): Beside {
    return {
      stalls: ({ endpoint }) =>
        endpoint.cgroup === undefined ? null : (cgroups.get(endpoint.cgroup) ?? null),
      app: (route, backend) => this.senses.app(route, backend),
      dial: (route, backend) => this.senses.dial(route, backend),
      quiet: ({ endpoint }) => endpoint.cgroup === undefined && !this.senses.hearsApps,
    };
  }

  /** Measures everything on a quiet route, and a part of it on a busy one. */
  private sample(entry: RouteEntry, { backends }: RouteSignals, dtMs: number): void {
    let picks = 0;
    let answers = 0;
    for (const backend of backends) {
      picks += backend.picks;
      for (const { count } of backend.firstByte ?? []) answers += count;
    }
    const before = this.rates.get(entry.name) ?? { flowsPerSecond: 0, answersPerSecond: 0 };
    const towards = (average: number, count: number) =>
      average + ((count * 1000) / Math.max(1, dtMs) - average) / rateTicks;
    const rates = {
      flowsPerSecond: towards(before.flowsPerSecond, picks),
      answersPerSecond: towards(before.answersPerSecond, answers),
    };
    this.rates.set(entry.name, rates);
    const now = this.projector.sampling(entry);
    const next = sampling(rates, backends.length, this.knobs.latencySamples, now);
    if (next.mask !== now.mask || next.skip !== now.skip) {
      this.projector.setSampling(entry, next.mask, next.skip);
    }
  }

  /** Brings one route's field to where the kernel reads it; slots wait for the projection. */
  private command(entry: RouteEntry, route: RouteField, ring: Uint32Array): void {
    const observed = this.observed.get(entry.name);
    const percent = observed === undefined ? 100 : observed.percent;
    // Before anything is judged: what is only observed must not meet a valve that closes.
    this.projector.setObserved(entry, 100 - percent);
    let moved = ring !== entry.owners;
    for (const backend of route.backends) {
      const known = entry.backends.get(backend.id);
      if (known !== undefined) this.judge(known, backend, percent);
      moved ||= backend.slots !== backend.before;
    }
    const own = moved ? this.dealt(entry, slotsOf(route), ring) : ring;
    if (observed === undefined) {
      if (moved) this.projector.setOwners(entry, own);
    } else {
      observed.ring = own;
      const inForce = this.projector.ring(entry);
      this.projector.setOwners(entry, this.dealt(entry, observed.blend(route), inForce));
    }
    this.projector.setGear(entry, percent === 0 ? 'single' : route.gear);
    const { mode, budgetPerSecond, burst } = this.valve(entry, route.valve, percent);
    this.projector.setAdmission(
      entry,
      mode,
      budgetPerSecond === null ? null : { ratePerSecond: budgetPerSecond, burst },
    );
  }

  /** Of the valve, the part that is enforced: who is observed takes no token. */
  private valve(entry: RouteEntry, asked: ValveField, percent: number): ValveCommand {
    if (percent === 0) return openValve;
    const whole = this.wholeValve(entry, asked);
    if (percent === 100 || whole.budgetPerSecond === null) return whole;
    return {
      mode: whole.mode,
      budgetPerSecond: (whole.budgetPerSecond * percent) / 100,
      burst: Math.max(1, Math.ceil((whole.burst * percent) / 100)),
    };
  }

  /** What the law asks, unless the owner of the service fixed the mode. */
  private wholeValve({ mode }: RouteEntry, asked: ValveField): ValveCommand {
    if (mode === 'auto' || mode === asked.mode) return asked;
    if (mode !== 'soft') return { mode, budgetPerSecond: null, burst: 1 };
    const { budgetMin, budgetHeadroom } = this.knobs;
    const budgetPerSecond = Math.max(budgetMin, (asked.goodputPerSecond ?? 0) * budgetHeadroom);
    return { mode, budgetPerSecond, burst: Math.max(1, Math.ceil(budgetPerSecond / 2)) };
  }

  private dealt(
    entry: RouteEntry,
    slotsById: ReadonlyMap<string, number>,
    ring: Uint32Array,
  ): Uint32Array {
    const counts = new Map<number, number>();
    for (const [id, slots] of slotsById) {
      const known = entry.backends.get(id);
      if (known !== undefined) counts.set(known.index, slots);
    }
    return ring.length === 0 ? ring : assignRing(ring, counts, this.phase);
  }

  /** Counts what would have been done where not all is. */
  private seeObserved(field: Field, signals: readonly RouteSignals[], dtMs: number): void {
    if (this.observed.size === 0) return;
    field.routes.forEach((route, i) => {
      const own = signals[i];
      if (own !== undefined) this.observed.get(route.name)?.see(route, own, dtMs);
    });
  }

  /** The drip is set before the state that makes the kernel go by it. */
  private judge({ index }: BackendEntry, field: BackendField, percent: number): void {
    const { circuit } = field.memory;
    if (percent === 0) {
      this.projector.setBackendState(index, 'healthy');
      return;
    }
    if (circuit.kind === 'isolated') {
      const { cooldownMs, remainingMs, probedForMs } = circuit;
      this.projector.setDrip(index, cooldownMs, remainingMs, probedForMs !== null);
    }
    this.projector.setBackendState(index, field.state);
  }

  /** The last words: a heartbeat over a coherent field, so that HOLD begins from now. */
  stop(): void {
    this.projector.heartbeat();
    this.plane.fieldState.write(0, { agentPid: 0 });
  }
}

/** That they are full, or that the kernel refused a write. */
function isOfTheMaps(error: unknown): boolean {
  return (
    error instanceof InputError || (!(error instanceof NityError) && errnoOf(error) !== undefined)
  );
}

function inWords({ invariant, route, says }: Violation): string {
  return `${invariant}${route === null ? '' : ` on ${route}`}: ${says}`;
}
