// A small closed world for the law's tests: requests arrive, slots say who gets
// them, backends answer, refuse or hang, and the next tick sees what came of it.
// Deterministic: time is counted, and chance comes from a seeded generator.
import { defaultKnobs, type Knobs } from '../../src/lib/config/knobs.js';
import { nothingSensed, type NodeSignals } from '../../src/lib/field/signals.js';
import { freshState, step } from '../../src/lib/field/step.js';
import type { Reason } from '../../src/lib/field/reasons.js';
import type {
  BackendField,
  BackendSignals,
  FieldState,
  Inputs,
  LatencySample,
  RouteField,
  RouteSignals,
  StepResult,
} from '../../src/lib/field/types.js';

const dtMs = 200;
const silentNode: NodeSignals = nothingSensed('this is a test');

/** mulberry32: a test must not flicker. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export type Behaviour = 'healthy' | 'refusing' | 'hung' | { readonly slower: number };

export interface WorldOptions {
  readonly ids?: readonly string[];
  readonly requestsPerSecond?: number;
  /** Milliseconds that a healthy backend takes. */
  readonly serviceMs?: (random: () => number) => number;
  readonly knobs?: Partial<Knobs>;
  readonly seed?: number;
  /** False: the kernel measures the path alone. */
  readonly measured?: boolean;
  readonly node?: (atMs: number) => NodeSignals;
}

interface Waiting {
  readonly sinceMs: number;
}

const giveUpMs = 1000;

/** A backend that did nothing in a tick. */
export function idle(id: string, slots = 0): BackendSignals {
  return {
    id,
    slots,
    picks: 0,
    connects: 0,
    failures: 0,
    unserved: 0,
    consecutiveFailures: 0,
    openMean: null,
    connectUs: null,
    retransmits: 0,
    firstByte: [],
    waiting: { count: 0, ageMs: 0, answeredSince: true },
    stalls: null,
    app: null,
  };
}

export function inputsOf(routes: readonly RouteSignals[], more: Partial<Inputs> = {}): Inputs {
  return { dtMs, held: false, node: silentNode, routes, ...more };
}

export function routeOf(
  backends: readonly BackendSignals[],
  more: Partial<RouteSignals> = {},
): RouteSignals {
  return { name: 'r', slots: 64, refused: 0, override: null, backends, ...more };
}

export class World {
  readonly ids: readonly string[];
  readonly slots: number;
  readonly knobs: Knobs;
  readonly behaviours = new Map<string, Behaviour>();
  readonly reasons: Reason[] = [];
  state: FieldState = freshState;
  owned: Map<string, number>;
  last: StepResult | undefined;
  /** What the last step was given. */
  inputs: Inputs | undefined;
  atMs = 0;
  /** Requests sent to each backend, and those lost, since the last reset(). */
  sent = new Map<string, number>();
  lost = 0;
  moved = 0;
  private readonly random: () => number;
  private readonly waiting = new Map<string, Waiting[]>();
  private readonly consecutive = new Map<string, number>();
  private readonly answeredMs = new Map<string, number>();
  private readonly dripDueMs = new Map<string, number>();

  constructor(readonly options: WorldOptions = {}) {
    this.ids = options.ids ?? ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];
    this.knobs = { ...defaultKnobs, ...options.knobs };
    let slots = 64;
    while (slots < this.ids.length * 8) slots *= 2;
    this.slots = slots;
    this.random = seeded(options.seed ?? 1);
    this.owned = new Map(this.ids.map((id) => [id, 0]));
  }

  get route(): RouteField {
    const route = this.last?.field.routes[0];
    if (route === undefined) throw new Error('the world has not ticked');
    return route;
  }

  backend(id: string): BackendField {
    const found = this.route.backends.find((backend) => backend.id === id);
    if (found === undefined) throw new Error(`there is no ${id}`);
    return found;
  }

  /** Slots of `id`, as a multiple of its fair share. */
  share(id: string): number {
    return (this.owned.get(id) ?? 0) / (this.slots / this.ids.length);
  }

  total(): number {
    return [...this.owned.values()].reduce((a, b) => a + b, 0);
  }

  reset(): void {
    this.sent = new Map();
    this.lost = 0;
    this.moved = 0;
    this.reasons.length = 0;
  }

  /** Whom the slots name; an isolated backend is passed over until its drip is due. */
  private pick(): string {
    for (let draw = 0; draw < 3; draw++) {
      let slot = Math.floor(this.random() * this.total());
      for (const [id, count] of this.owned) {
        slot -= count;
        if (slot >= 0) continue;
        if (this.state.routes.size === 0 || this.backend(id).state !== 'isolated') return id;
        if (this.atMs < (this.dripDueMs.get(id) ?? 0)) break;
        const { circuit } = this.backend(id).memory;
        if (circuit.kind === 'isolated') this.dripDueMs.set(id, this.atMs + circuit.cooldownMs);
        return id;
      }
    }
    return this.ids.find((id) => this.backend(id).state !== 'isolated') ?? this.ids[0] ?? '';
  }

  /** What each backend did in the tick that ends now. */
  private serve(): BackendSignals[] {
    const { requestsPerSecond = 200, serviceMs = () => 4, measured = true } = this.options;
    const did = new Map(
      this.ids.map((id) => [
        id,
        { picks: 0, connects: 0, failures: 0, samples: [] as LatencySample[], busyMs: 0 },
      ]),
    );
    const requests = this.total() === 0 ? 0 : Math.round((requestsPerSecond * dtMs) / 1000);
    for (let i = 0; i < requests; i++) {
      const id = this.pick();
      const own = did.get(id);
      if (own === undefined) continue;
      const behaviour = this.behaviours.get(id) ?? 'healthy';
      own.picks++;
      own.connects++;
      this.sent.set(id, (this.sent.get(id) ?? 0) + 1);
      if (behaviour === 'refusing') {
        own.failures++;
        this.lost++;
        this.consecutive.set(id, (this.consecutive.get(id) ?? 0) + 1);
        continue;
      }
      this.consecutive.set(id, 0);
      if (behaviour === 'hung') {
        this.waiting.set(id, [...(this.waiting.get(id) ?? []), { sinceMs: this.atMs }]);
        continue;
      }
      const slower = typeof behaviour === 'object' ? behaviour.slower : 1;
      const ms = serviceMs(this.random) * slower;
      own.busyMs += ms;
      own.samples.push({ us: ms * 1000 + 60, count: 1 });
      this.answeredMs.set(id, this.atMs);
    }
    return this.ids.map((id): BackendSignals => {
      const own = did.get(id);
      const still = (this.waiting.get(id) ?? []).filter(
        ({ sinceMs }) => this.atMs - sinceMs < giveUpMs,
      );
      const gone = (this.waiting.get(id)?.length ?? 0) - still.length;
      this.lost += gone;
      this.waiting.set(id, still);
      const ageMs =
        still.reduce((sum, { sinceMs }) => sum + this.atMs - sinceMs, 0) /
        Math.max(1, still.length);
      const answeredAgoMs = this.atMs - (this.answeredMs.get(id) ?? -Infinity);
      return {
        ...idle(id, this.owned.get(id) ?? 0),
        picks: own?.picks ?? 0,
        connects: own?.connects ?? 0,
        failures: (own?.failures ?? 0) + gone,
        unserved: gone,
        consecutiveFailures: this.consecutive.get(id) ?? 0,
        openMean: (own?.busyMs ?? 0) / dtMs + still.length,
        connectUs: (own?.connects ?? 0) > (own?.failures ?? 0) ? 60 : null,
        firstByte: measured ? (own?.samples ?? []) : null,
        waiting: measured
          ? { count: still.length, ageMs, answeredSince: answeredAgoMs < ageMs }
          : null,
      };
    });
  }

  tick(times = 1): void {
    for (let i = 0; i < times; i++) {
      this.atMs += dtMs;
      const before = this.owned;
      const route = routeOf(this.serve(), { slots: this.slots });
      const node = this.options.node?.(this.atMs) ?? silentNode;
      this.inputs = inputsOf([route], { node });
      this.last = step(this.state, this.inputs, this.knobs);
      this.state = this.last.state;
      this.reasons.push(...this.last.reasons);
      this.owned = new Map(this.route.backends.map(({ id, slots }) => [id, slots]));
      for (const {
        id,
        slots,
        memory: { circuit },
      } of this.route.backends) {
        this.moved += Math.max(0, slots - (before.get(id) ?? 0));
        if (circuit.kind === 'isolated' && circuit.remainingMs === circuit.cooldownMs) {
          this.dripDueMs.set(id, this.atMs + circuit.cooldownMs);
        }
      }
    }
  }

  seconds(seconds: number): void {
    this.tick(Math.round((seconds * 1000) / dtMs));
  }
}

/** Lognormal with this median and sigma (Box and Muller 1958). */
export function lognormal(medianMs: number, sigma: number): (random: () => number) => number {
  return (random) => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return medianMs * Math.exp(sigma * radius * Math.cos(2 * Math.PI * random()));
  };
}

/** Pareto with this least value: P(X > x) = (least / x)^alpha. */
export function pareto(leastMs: number, alpha: number): (random: () => number) => number {
  return (random) => leastMs * (1 - random()) ** (-1 / alpha);
}
