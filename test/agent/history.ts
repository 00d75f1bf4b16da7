// Plays a history on a node: services and addresses come, go, move and scale, agents end and
// begin, time passes. After each step, and after each write to the maps if asked for, every
// address is dialled, and a Wrong is thrown at the first connect that went where it may not.
import type { Agent } from '../../src/lib/agent/agent.js';
import { Health } from '../../src/lib/agent/health.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { BackendState, Counter } from '../../src/lib/dataplane/abi.js';
import { fieldFaults } from '../../src/lib/dataplane/field-faults.js';
import { flip } from '../../src/lib/dataplane/flip.js';
import { tableOf, type Plane } from '../../src/lib/dataplane/plane.js';
import { UnsafeError } from '../../src/lib/errors.js';
import type { GearChoice, Route } from '../../src/lib/routes/route-set.js';
import { Node, route, type Answer } from './node.js';
import { watchedPlane } from './watched-plane.js';

export const services = 6;
export const vips = 8;
/** Of each service; 12 backends have twice the slots of one. */
export const backendsMax = 12;

export type Step =
  /** The cluster changes; the agent hears of it by `serve` and `part`. `backends` is a set, by bits. */
  | { readonly do: 'scale'; readonly service: number; readonly backends: number }
  | { readonly do: 'remove'; readonly service: number }
  | { readonly do: 'move'; readonly vip: number; readonly to: number | null }
  | { readonly do: 'swap'; readonly a: number; readonly b: number }
  | { readonly do: 'rename'; readonly service: number; readonly to: number }
  | {
      readonly do: 'knobs';
      readonly service: number;
      readonly gear: GearChoice;
      readonly affine: boolean;
    }
  | { readonly do: 'serve' }
  /** A part of what changed: the services of this set. */
  | { readonly do: 'part'; readonly services: number }
  | { readonly do: 'tick'; readonly times: number }
  | { readonly do: 'busy' }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'restart' }
  /** The agent dies after so many more writes. */
  | { readonly do: 'kill'; readonly afterWrites: number }
  | { readonly do: 'flip'; readonly holdMs: number; readonly force: boolean };

interface Service {
  backends: number;
  gear: GearChoice;
  affine: boolean;
  made: Route | undefined;
}

class Killed extends Error {}
class Wrong extends Error {}

const vipOf = (vip: number) => `127.96.7.${vip + 1}`;
const firstPort = 10_000;
const portOf = (service: number, backend: number) => firstPort + service * 100 + backend;
const serviceOf = (port: number) => Math.floor((port - firstPort) / 100);
const sizes = { slots: 4096, routes: 128, backends: 1024, addresses: 64, flows: 64 };

/** Who may answer at an address now, and whether somebody must. */
interface Expectation {
  readonly may: Set<number>;
  must: boolean;
}

export class History {
  private readonly node = new Node(sizes);
  private readonly watched: Plane;
  private agent: Agent | undefined;
  /** The cluster's. */
  private readonly wanted = new Map<number, Service>();
  private readonly owner = new Array<number | null>(vips).fill(null);
  /** What the agent was told, and whether it was all. */
  private told = new Map<number, Route>();
  private toldOwner: readonly (number | null)[] = [];
  private toldAll = false;
  /** Ticks that projected since anything changed. */
  private ticks = 0;
  private readonly expected = Array.from({ length: vips }, (): Expectation => ({
    may: new Set(),
    must: false,
  }));
  private writesLeft = Infinity;
  private isBusy = false;
  private readonly health: Health;

  constructor(private readonly glancesAtEachWrite: boolean) {
    this.watched = watchedPlane(this.node.plane, () => {
      this.wrote();
    });
    this.health = new Health(this.node.nowMs, defaultKnobs);
    this.appoint();
  }

  play(steps: readonly Step[]): void {
    for (const [i, step] of steps.entries()) {
      try {
        this.step(step);
        this.glance();
        this.requireNoBreach();
      } catch (error) {
        if (error instanceof Wrong) throw new Wrong(`step ${i + 1}, ${step.do}: ${error.message}`);
        throw error;
      }
    }
    this.leave();
  }

  private step(step: Step): void {
    switch (step.do) {
      case 'scale':
        this.service(step.service).backends = step.backends;
        return;
      case 'remove':
        this.wanted.delete(step.service);
        this.owner.forEach((owner, vip) => {
          if (owner === step.service) this.owner[vip] = null;
        });
        return;
      case 'move':
        this.give(step.vip, step.to);
        return;
      case 'swap': {
        const [a = null, b = null] = [this.owner[step.a], this.owner[step.b]];
        this.give(step.a, b);
        this.give(step.b, a);
        return;
      }
      case 'rename':
        this.rename(step.service, step.to);
        return;
      case 'knobs':
        Object.assign(this.service(step.service), { gear: step.gear, affine: step.affine });
        return;
      case 'serve':
        this.serve([...this.wanted.keys()], true);
        return;
      case 'part':
        this.serve(
          [...this.wanted.keys()].filter((service) => (step.services >> service) & 1),
          false,
        );
        return;
      case 'tick':
        for (let i = 0; i < step.times; i++) this.tick();
        return;
      case 'busy':
        this.isBusy = true;
        return;
      case 'pass':
        this.node.pass(step.ms);
        return;
      case 'restart':
        this.alive(() => this.agent?.stop());
        this.die();
        this.appoint();
        return;
      case 'kill':
        this.writesLeft = step.afterWrites;
        return;
      case 'flip':
        this.flip(step.holdMs, step.force);
    }
  }

  /** A service that is looked at is there; what is said of it makes a new route of it. */
  private service(service: number): Service {
    let known = this.wanted.get(service);
    if (known === undefined) {
      known = { backends: 1, gear: 'auto', affine: false, made: undefined };
      this.wanted.set(service, known);
    }
    known.made = undefined;
    return known;
  }

  private give(vip: number, to: number | null): void {
    const before = this.owner[vip] ?? null;
    if (before !== null) this.service(before);
    if (to !== null) this.service(to);
    this.owner[vip] = to;
  }

  /** The same backends and addresses, under another name: the pods' ports tell the new one. */
  private rename(service: number, to: number): void {
    const known = this.wanted.get(service);
    if (known === undefined || service === to) return;
    Object.assign(this.service(to), { ...known, made: undefined });
    this.owner.forEach((owner, vip) => {
      if (owner === service) this.give(vip, to);
    });
    this.wanted.delete(service);
  }

  private made(service: number): Route {
    const known = this.wanted.get(service);
    if (known === undefined) throw new Error('a service that is not there is made a route of');
    const bits = Array.from({ length: backendsMax }, (_, i) => i);
    const ports = bits.filter((i) => (known.backends >> i) & 1).map((i) => portOf(service, i));
    const own = this.owner.flatMap((owner, vip) => (owner === service ? [vipOf(vip)] : []));
    return (known.made ??= route(`s${service}`, ports, own, {
      gear: known.gear,
      affinity: known.affine ? { kind: 'clientIP', timeoutSeconds: 60 } : { kind: 'none' },
    }));
  }

  /** Tells the agent these services as they are, and the others as it knows them. */
  private serve(fresh: readonly number[], isWhole: boolean): void {
    const agent = this.agent ?? this.appoint();
    // Killed before it heard of anything.
    if (agent === undefined) return;
    const routes = new Map<number, Route>();
    for (const service of this.wanted.keys()) {
      const told = this.told.get(service);
      if (fresh.includes(service)) routes.set(service, this.made(service));
      else if (told !== undefined) routes.set(service, told);
    }
    this.expect(routes, isWhole);
    this.told = routes;
    this.toldAll = isWhole;
    this.toldOwner = [...this.owner];
    this.ticks = 0;
    const isDone = this.alive(() => {
      agent.serve([...routes.values()], isWhole);
    });
    if (!isDone || !isWhole) return;
    this.owner.forEach((owner, vip) => {
      if (owner === null) this.require(vip, this.dial(vip), 'untranslated');
    });
  }

  private expect(routes: ReadonlyMap<number, Route>, isWhole: boolean): void {
    const lives = (service: number) => routes.get(service)?.backends.length !== 0;
    this.expected.forEach((expected, vip) => {
      const owner = this.owner[vip] ?? null;
      const { may } = expected;
      // Who is not among the routes goes on answering until the address leads elsewhere.
      expected.must &&= owner !== null && [...may].every(lives);
      if (owner === null) return;
      const isTold = routes.get(owner) === this.wanted.get(owner)?.made;
      if (!isWhole && !isTold) return;
      may.add(owner);
      expected.must &&= routes.has(owner) && lives(owner);
    });
  }

  private tick(): void {
    if (this.agent === undefined) {
      this.node.pass(defaultKnobs.tickMs);
      return;
    }
    const { agent } = this;
    this.node.pass(defaultKnobs.tickMs);
    this.alive(() => {
      const tick = agent.tick();
      if (tick.violations.length > 0) throw new Wrong(tick.violations[0]?.says);
      this.health.see(tick, this.node.nowMs, true);
      const { ok, why } = this.health.ask('liveness', this.node.nowMs);
      if (!ok) throw new Wrong(`livez: ${why.join('; ')}`);
      const { kind } = tick.outcome;
      if (kind === 'unsafe') throw new Wrong(`unsafe: ${tick.outcome.why}`);
      if (kind === 'projected' || kind === 'unchanged') this.ticks++;
    });
    this.isBusy = false;
    if (this.isSettled) this.settle();
  }

  /** Two ticks after it was told all, the node is as it was told. */
  private get isSettled(): boolean {
    return this.agent !== undefined && this.toldAll && this.ticks >= 2;
  }

  private settle(): void {
    this.expected.forEach((expected, vip) => {
      const owner = this.toldOwner[vip] ?? null;
      expected.may.clear();
      if (owner !== null) expected.may.add(owner);
      expected.must = owner !== null && this.told.get(owner)?.backends.length !== 0;
    });
    const { plane } = this.node;
    const faults = fieldFaults(plane, tableOf(plane.word('epoch')));
    const { miscounted, ...lists } = faults;
    const isSound = miscounted === 0 && Object.values(lists).every(({ length }) => length === 0);
    if (!isSound) throw new Wrong(`the field: ${JSON.stringify(faults)}`);
  }

  private flip(holdMs: number, force: boolean): void {
    try {
      flip(this.node.plane, { holdMs, force, dryRun: false });
      this.ticks = 0;
    } catch (error) {
      if (!(error instanceof UnsafeError)) throw error;
    }
  }

  private appoint(): Agent | undefined {
    this.alive(() => {
      this.agent = this.node.appoint(this.watched, (change) =>
        this.isBusy ? undefined : change(),
      );
    });
    return this.agent;
  }

  private die(): void {
    this.agent = undefined;
    this.told = new Map();
    this.toldAll = false;
    this.writesLeft = Infinity;
  }

  /** Does what an agent does; false if it died of it. */
  private alive(act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.die();
      return false;
    }
  }

  private wrote(): void {
    if (this.glancesAtEachWrite) this.glance();
    if (this.writesLeft-- <= 0) throw new Killed();
  }

  private dial(vip: number): Answer {
    return this.node.dial(vipOf(vip));
  }

  private glance(): void {
    for (let vip = 0; vip < vips; vip++) this.look(vip, this.dial(vip));
  }

  private look(vip: number, answer: Answer): void {
    const { may, must } = this.expected[vip] ?? { may: new Set(), must: false };
    if (typeof answer === 'number') {
      const service = serviceOf(answer);
      if (!may.has(service)) throw new Wrong(`${vipOf(vip)} was answered by service ${service}`);
      if (!this.isSettled) return;
      const isOne = this.told.get(service)?.backends.some(({ port }) => port === answer);
      if (isOne !== true) throw new Wrong(`${vipOf(vip)} was answered by ${answer}, which left`);
    } else {
      if (must) throw new Wrong(`${vipOf(vip)} was ${answer}`);
      if (this.isSettled) this.require(vip, answer, may.size === 0 ? 'untranslated' : 'refused');
    }
  }

  /** The kernel is the last to notice a slot that leads elsewhere; no history may come to that. */
  private requireNoBreach(): void {
    for (const counter of [Counter.refusedBoundary, Counter.refusedIncomplete]) {
      const key = Uint8Array.of(counter, 0, 0, 0);
      const count = this.node.plane.handle('counters').lookup(key);
      if (count?.some((byte) => byte !== 0)) throw new Wrong('the kernel refused a stray slot');
    }
  }

  private require(vip: number, answer: Answer, expected: Answer): void {
    if (answer !== expected) throw new Wrong(`${vipOf(vip)} was ${answer}, and not ${expected}`);
  }

  /** When nothing is served any more, everything that was given out is back. */
  private leave(): void {
    this.writesLeft = Infinity;
    if (this.agent === undefined) this.appoint();
    this.node.pass(60_000);
    this.wanted.clear();
    this.owner.fill(null);
    for (let i = 0; i < 4; i++) {
      this.serve([], true);
      this.tick();
      this.glance();
    }
    this.node.pass(3_000);
    const { plane, agent } = this.node;
    const { routeIndexes, backendIndexes, slots } = agent.projector.book;
    const nowNs = plane.nowNs();
    const left = {
      addresses: plane.routes.entries().count,
      routes: sizes.routes - 1 - routeIndexes.room(nowNs),
      backends: sizes.backends - 1 - backendIndexes.room(nowNs),
      slots: slots[0].used + slots[1].used,
      notFree: this.countNotFree(plane),
    };
    if (Object.values(left).some((count) => count !== 0)) {
      throw new Wrong(`not given back: ${JSON.stringify(left)}`);
    }
  }

  private countNotFree({ backends }: Plane): number {
    let count = 0;
    for (let index = 1; index < backends.length; index++) {
      if (backends.get(index, 'state') !== BackendState.free) count++;
    }
    return count;
  }
}
