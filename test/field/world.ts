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
  ClientSignals,
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
  readonly latencyReferenceUs?: number;
  /** How long a client waits for an answer. */
  readonly patienceMs?: number;
  /** Clients that dial the route, in turn; each has a lane of its own. */
  readonly clients?: number;
  /** What one client meets at a backend, where that is not what all of them meet. */
  readonly meets?: (id: string, client: number) => Behaviour | undefined;
  /** The agent dials what refuses and one that is well, as it does where connects fail. */
  readonly dials?: boolean;
}

interface Waiting {
  readonly sinceMs: number;
  readonly client: number;
  /** How long its answer takes; null when there will be none. */
  readonly takesMs: number | null;
}

const noWord = { connects: 0, failures: 0, answers: 0, logSum: 0, unserved: 0 };

/** A backend that did nothing in a tick. */
export function idle(id: string, slots = 0): BackendSignals {
  return {
    id,
    slots,
    picks: 0,
    connects: 0,
    failures: 0,
    served: 0,
    unserved: 0,
    dropped: 0,
    consecutiveFailures: 0,
    accusers: 0,
    openMean: null,
    connectUs: null,
    retransmits: 0,
    firstByte: [],
    waiting: { count: 0, ageMs: 0, answeredSince: true },
    working: 0,
    clients: [],
    dial: null,
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
  return {
    name: 'r',
    slots: 64,
    refused: 0,
    clients: 1,
    override: null,
    latencyReferenceUs: null,
    backends,
    ...more,
  };
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
  private readonly accusers = new Map<string, Set<number>>();
  private readonly suspectUntilMs = new Map<string, number>();
  private due = 0;
  private dialled = 0;
  private wanted: ReadonlySet<string> = new Set();
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
    for (let draw = 0; draw < 8; draw++) {
      let slot = Math.floor(this.random() * this.total());
      for (const [id, count] of this.owned) {
        slot -= count;
        if (slot >= 0) continue;
        if (this.state.routes.size === 0) return id;
        // The kernel passes over what failed twice in a row before the agent has seen it.
        if (this.atMs < (this.suspectUntilMs.get(id) ?? 0)) break;
        if (this.backend(id).state !== 'isolated') return id;
        if (this.atMs < (this.dripDueMs.get(id) ?? 0)) break;
        const { circuit } = this.backend(id).memory;
        if (circuit.kind === 'isolated') this.dripDueMs.set(id, this.atMs + circuit.cooldownMs);
        return id;
      }
    }
    const admitted = this.ids.filter((id) => this.backend(id).state !== 'isolated');
    return admitted[Math.floor(this.random() * admitted.length)] ?? this.ids[0] ?? '';
  }

  private meets(id: string, client: number): Behaviour {
    return this.options.meets?.(id, client) ?? this.behaviours.get(id) ?? 'healthy';
  }

  private fail(id: string, client: number): void {
    const failures = (this.consecutive.get(id) ?? 0) + 1;
    this.consecutive.set(id, failures);
    const accusers = this.accusers.get(id) ?? new Set();
    this.accusers.set(id, accusers.add(client));
    const several = (this.options.clients ?? 1) === 1 || accusers.size > 1;
    if (failures >= this.knobs.suspectFailures && several) {
      this.suspectUntilMs.set(id, this.atMs + this.knobs.suspectMs);
    }
  }

  private succeed(id: string): void {
    this.consecutive.set(id, 0);
    this.accusers.delete(id);
    this.suspectUntilMs.delete(id);
  }

  /** What the agent's own connect meets: an endpoint, whoever dials it. */
  private dialOf(id: string): 'open' | 'closed' | null {
    if (!this.wanted.has(id)) return null;
    return this.behaviours.get(id) === 'refusing' ? 'closed' : 'open';
  }

  /** Whom the agent dials next: those that fail, and one that is well to compare them with. */
  private toDial(): ReadonlySet<string> {
    const { dials = false, clients = 1 } = this.options;
    if (!dials || (this.route.regime === 'laminar' && clients < 2)) return new Set();
    const failing = this.ids.filter((id) => {
      const { circuit } = this.backend(id).memory;
      const isOut = circuit.kind === 'isolated' && circuit.cause === 'errors';
      return (this.consecutive.get(id) ?? 0) > 0 && (isOut || clients > 1);
    });
    const well = this.ids.find(
      (id) =>
        (this.consecutive.get(id) ?? 0) === 0 &&
        this.backend(id).memory.circuit.kind !== 'isolated',
    );
    return new Set(failing.length === 0 || well === undefined ? [] : [well, ...failing]);
  }

  /** What each backend did in the tick that ends now. */
  private serve(): BackendSignals[] {
    const {
      requestsPerSecond = 200,
      serviceMs = () => 4,
      measured = true,
      patienceMs = 1000,
      clients = 1,
    } = this.options;
    const did = new Map(
      this.ids.map((id) => [
        id,
        {
          picks: 0,
          failures: 0,
          samples: [] as LatencySample[],
          busyMs: 0,
          lanes: Array.from({ length: clients }, () => ({ ...noWord })),
        },
      ]),
    );
    this.due += this.total() === 0 ? 0 : (requestsPerSecond * dtMs) / 1000;
    const requests = Math.floor(this.due + 1e-9);
    this.due -= requests;
    for (let i = 0; i < requests; i++) {
      const client = this.dialled++ % clients;
      const id = this.pick();
      const own = did.get(id);
      const lane = own?.lanes[client];
      if (own === undefined || lane === undefined) continue;
      const behaviour = this.meets(id, client);
      own.picks++;
      lane.connects++;
      this.sent.set(id, (this.sent.get(id) ?? 0) + 1);
      if (behaviour === 'refusing') {
        own.failures++;
        lane.failures++;
        this.lost++;
        this.fail(id, client);
        continue;
      }
      this.succeed(id);
      if (behaviour === 'hung') {
        this.waiting.set(id, [
          ...(this.waiting.get(id) ?? []),
          { sinceMs: this.atMs, client, takesMs: null },
        ]);
        continue;
      }
      const slower = typeof behaviour === 'object' ? behaviour.slower : 1;
      const ms = serviceMs(this.random) * slower;
      this.waiting.set(id, [
        ...(this.waiting.get(id) ?? []),
        { sinceMs: this.atMs, client, takesMs: ms },
      ]);
    }
    return this.ids.map((id): BackendSignals => {
      const own = did.get(id);
      const all = this.waiting.get(id) ?? [];
      const still: Waiting[] = [];
      const gone: Waiting[] = [];
      for (const one of all) {
        const { sinceMs, client, takesMs } = one;
        if (takesMs === null) {
          (this.atMs - sinceMs < patienceMs ? still : gone).push(one);
          continue;
        }
        // What takes less than a tick is answered in that of its request.
        if (takesMs > dtMs && sinceMs + takesMs > this.atMs) {
          still.push(one);
          continue;
        }
        const lane = own?.lanes[client];
        if (own === undefined || lane === undefined) continue;
        if (takesMs <= dtMs) own.busyMs += takesMs;
        own.samples.push({ us: takesMs * 1000 + 60, count: 1 });
        lane.answers++;
        lane.logSum += Math.log2(takesMs * 1000);
        this.answeredMs.set(id, this.atMs);
      }
      for (const { client } of gone) {
        const lane = own?.lanes[client];
        if (lane !== undefined) lane.unserved++;
      }
      this.lost += gone.length;
      this.waiting.set(id, still);
      const ageMs =
        still.reduce((sum, { sinceMs }) => sum + this.atMs - sinceMs, 0) /
        Math.max(1, still.length);
      const answeredAgoMs = this.atMs - (this.answeredMs.get(id) ?? 0);
      const picks = own?.picks ?? 0;
      const failures = own?.failures ?? 0;
      const working = (own?.busyMs ?? 0) / dtMs + still.length;
      const lanes = (own?.lanes ?? []).map((word, lane): ClientSignals => {
        const waiting = still.filter(({ client }) => client === lane).length;
        return { lane, ...word, waiting, working: waiting };
      });
      return {
        ...idle(id, this.owned.get(id) ?? 0),
        picks,
        connects: picks,
        failures,
        served: measured ? (own?.samples.length ?? 0) : 0,
        unserved: gone.length,
        consecutiveFailures: this.consecutive.get(id) ?? 0,
        accusers: Math.min(2, this.accusers.get(id)?.size ?? 0),
        openMean: working,
        connectUs: picks > failures ? 60 : null,
        firstByte: measured ? (own?.samples ?? []) : null,
        waiting: measured
          ? { count: still.length, ageMs, answeredSince: answeredAgoMs < ageMs }
          : null,
        working: measured ? working : null,
        clients: clients > 1 && picks + still.length + gone.length > 0 ? lanes : [],
        dial: this.dialOf(id),
      };
    });
  }

  tick(times = 1): void {
    for (let i = 0; i < times; i++) {
      this.atMs += dtMs;
      const before = this.owned;
      const route = routeOf(this.serve(), {
        slots: this.slots,
        clients: this.options.clients ?? 1,
        latencyReferenceUs: this.options.latencyReferenceUs ?? null,
      });
      const node = this.options.node?.(this.atMs) ?? silentNode;
      this.inputs = inputsOf([route], { node });
      this.last = step(this.state, this.inputs, this.knobs);
      this.state = this.last.state;
      this.reasons.push(...this.last.reasons);
      this.wanted = this.toDial();
      this.owned = new Map(this.route.backends.map(({ id, slots }) => [id, slots]));
      for (const {
        id,
        slots,
        memory: { circuit },
      } of this.route.backends) {
        this.moved += Math.max(0, slots - (before.get(id) ?? 0));
        if (circuit.kind === 'isolated' && circuit.probedForMs === null) {
          this.dripDueMs.set(id, this.atMs + circuit.remainingMs);
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
