// The simulated world: clients dial, a front sends them somewhere, a backend answers,
// refuses or hangs, and the clock is whatever comes next. Nothing here balances anything.
//
// A connection takes one trip of the path to be established or refused, and another for
// each exchange, which is travelled after the backend has done its work. What follows the
// handshake is the protocol's that the group of clients speaks.
import { exponential, type Sampler } from '../chance/distributions.js';
import { randomOf, type Random } from '../chance/random.js';
import type { End, Load, NodeView } from '../balancer.js';
import { rateAt } from '../clients.js';
import type { Scenario } from '../scenario.js';
import { Backends, type Endpoint } from './backends.js';
import { Calendar } from './calendar.js';
import { Connections, type Surroundings } from './connections.js';
import { Event } from './events.js';
import type { Front } from './front.js';
import { allHabits, type Habits } from './habits.js';
import { Ledger } from './ledger.js';

export interface WorldOptions {
  readonly scenario: Scenario;
  readonly seed: number;
  /** Of node `node`; made once the world stands, by whom it may be asked. */
  readonly makeFront: (node: number, view: NodeView) => Front;
  /** Told of each attempt that went somewhere. */
  readonly onPick?: (nowMs: number, endpoint: Endpoint) => void;
}

/** A probe is answered by the connection's own task: a trip there and back, no work. */
const leastTripMs = 0.05;
/** After a subscriber lost its connection, until it dials again. */
const subscribesAgainMs = 1000;

export class World implements Surroundings {
  readonly calendar = new Calendar();
  readonly ledger = new Ledger();
  readonly backends: Backends;
  /** By service, in the order of their numbers; what clients are told. */
  readonly served: number[][];
  readonly fronts: Front[];
  nowMs = 0;
  connects = 0;
  /** Multiplies the rate of arrivals. */
  load = 1;
  /** What each answer waits for beyond its backend's work. */
  sharedMs: Sampler | undefined;

  private readonly scenario: Scenario;
  private readonly groups: readonly Habits[];
  private readonly calls: (() => void)[] = [];
  private readonly freeCalls: number[] = [];
  readonly luck: Random;
  /** Of the agents' own connects, which must not change what clients meet. */
  private readonly dialLuck: Random;
  private readonly onPick: WorldOptions['onPick'];
  /** By group. */
  private readonly arrivalStamps: number[];
  private readonly connections = new Connections(this);

  // Requests that may still be dialled again, by number.
  private readonly attempts = new Map<number, number>();
  private readonly home: number[] = [];

  constructor({ scenario, seed, makeFront, onPick }: WorldOptions) {
    this.scenario = scenario;
    this.onPick = onPick;
    this.groups = allHabits(scenario, seed);
    this.arrivalStamps = this.groups.map(() => 0);
    this.luck = randomOf(seed, 'luck');
    this.dialLuck = randomOf(seed, 'dials');
    this.backends = new Backends(scenario, seed, (atMs, job) => {
      this.calendar.at(atMs, Event.finish, job);
    });
    this.served = Array.from({ length: scenario.services }, (_, service) =>
      this.backends.places.map((_, place) => this.backends.newEndpoint(service, place).number),
    );
    this.fronts = Array.from({ length: scenario.nodes }, (_, node) =>
      makeFront(node, this.viewOf(randomOf(seed, `node ${node}`))),
    );
    this.served.forEach((_, service) => {
      this.announce(service);
    });
    for (const group of this.groups) this.beginGroup(group);
  }

  private viewOf(random: Random): NodeView {
    return {
      random,
      nowMs: () => this.nowMs,
      accepts: (backend) => this.accepts(backend),
      probe: (backend, heard) => {
        this.probe(backend, heard);
      },
    };
  }

  /** Tells every node who serves. */
  announce(service: number): void {
    const endpoints = this.served[service] ?? [];
    for (const front of this.fronts) front.serve(this.nowMs, service, endpoints);
  }

  /** Calls back at `atMs`. */
  at(atMs: number, call: () => void): void {
    const number = this.freeCalls.pop() ?? this.calls.length;
    this.calls[number] = call;
    this.calendar.at(atMs, Event.call, number);
  }

  /** Runs until the calendar has nothing more by `untilMs`. */
  run(untilMs: number): void {
    const { calendar } = this;
    while (calendar.next(untilMs)) {
      this.nowMs = calendar.atMs;
      this.happen(calendar.kind, calendar.who, calendar.which);
    }
    this.nowMs = untilMs;
  }

  private happen(kind: number, who: number, which: number): void {
    switch (kind) {
      case Event.arrive:
        if (which === this.arrivalStamps[who]) this.arrive(this.groupOf(who));
        return;
      case Event.finish:
        this.finish(who);
        return;
      case Event.redial:
        this.dial(who);
        return;
      case Event.call: {
        const call = this.calls[who];
        this.freeCalls.push(who);
        call?.();
        return;
      }
      default:
        this.connections.happen(who, which, kind);
    }
  }

  private beginGroup({ number, spec }: Habits): void {
    if (spec.speaks !== 'pool') {
      this.nextArrival(number);
      return;
    }
    for (let i = 0; i < spec.size; i++)
      this.at(this.nowMs + (i * spec.within) / spec.size, () => {
        this.dial(this.come(this.groupOf(number)));
      });
  }

  /** The rate of arrivals changed: what was drawn for the old one is void. */
  setLoad(factor: number): void {
    this.load = factor;
    for (const { number } of this.groups) this.nextArrival(number);
  }

  groupOf(number: number): Habits {
    const group = this.groups[number];
    if (group === undefined) throw new Error(`there is no group of clients ${number}`);
    return group;
  }

  private nextArrival(number: number): void {
    const { spec, arrivals: random } = this.groupOf(number);
    if (spec.speaks === 'pool') return;
    const { rate, arrivals } = spec;
    const stamp = (this.arrivalStamps[number] ?? 0) + 1;
    this.arrivalStamps[number] = stamp;
    const perMs = (rateAt(rate, this.nowMs) * this.load) / 1000;
    const gapMs = perMs === 0 ? Infinity : (arrivals === 'even' ? 1 : exponential(random)) / perMs;
    const step =
      typeof rate === 'number'
        ? Infinity
        : (rate.find(({ from }) => from > this.nowMs)?.from ?? Infinity);
    // Arrivals of a Poisson process have no memory: at a step of the rate one draws again.
    if (this.nowMs + gapMs >= step)
      this.at(step, () => {
        this.nextArrival(number);
      });
    else if (gapMs < Infinity) this.calendar.at(this.nowMs + gapMs, Event.arrive, number, stamp);
  }

  private arrive(group: Habits): void {
    const request = this.come(group);
    this.nextArrival(group.number);
    this.dial(request);
  }

  /** A request from some node to some service. */
  private come(group: Habits): number {
    const { services, nodes } = this.scenario;
    const request = this.ledger.begin(this.nowMs, group.number);
    const node = nodes === 1 ? 0 : Math.floor(group.arrivals() * nodes);
    const service = services === 1 ? 0 : Math.floor(group.arrivals() * services);
    this.home[request] = node * services + service;
    return request;
  }

  begin({ number }: Habits, home: number): number {
    const request = this.ledger.begin(this.nowMs, number);
    this.home[request] = home;
    return request;
  }

  frontOf(home: number): Front {
    const front = this.fronts[Math.floor(home / this.scenario.services)];
    if (front === undefined) throw new Error(`there is no node that ${home} is on`);
    return front;
  }

  serviceOf(home: number): number {
    return home % this.scenario.services;
  }

  private dial(request: number): void {
    const group = this.groupOf(this.ledger.group[request] ?? -1);
    this.connects++;
    this.connections.dial(request, group, this.home[request] ?? -1);
  }

  picked(request: number, endpoint: Endpoint): void {
    this.ledger.place[request] = endpoint.place;
    this.onPick?.(this.nowMs, endpoint);
  }

  private finish(job: number): void {
    const done = this.backends.finish(job, this.nowMs);
    this.connections.worked(done.connection, done.stamp);
    this.backends.beginNext(done, this.nowMs);
  }

  succeeded(request: number): void {
    this.ledger.close(request, this.nowMs, 'answered');
    this.attempts.delete(request);
  }

  /** The client is content, tries again, or has tried enough. */
  ended(request: number, end: End): void {
    const group = this.groupOf(this.ledger.group[request] ?? -1);
    const { spec } = group;
    if (end === 'turnedAway')
      this.ledger.turnedAway.push({ atMs: this.nowMs, group: group.number });
    const { retries, backoff } = spec.speaks === 'pool' ? { retries: 0, backoff: 0 } : spec;
    const tried = this.attempts.get(request) ?? 0;
    if (end !== 'answered' && tried < retries) {
      this.attempts.set(request, tried + 1);
      this.calendar.at(this.nowMs + backoff * 2 ** tried, Event.redial, request);
      return;
    }
    this.attempts.delete(request);
    this.ledger.close(request, this.nowMs, end);
    // A pool's request ends apart from its success only when its connection does.
    if (spec.speaks === 'pool') this.reopen(group, spec.reopens);
  }

  lost(group: Habits, end: End): void {
    const { spec } = group;
    if (spec.speaks === 'pool') this.reopen(group, end === 'answered' ? 0 : spec.reopens);
    else if (end !== 'answered') this.reopen(group, subscribesAgainMs);
  }

  private reopen(group: Habits, inMs: number): void {
    this.at(this.nowMs + inMs, () => {
      this.dial(this.come(group));
    });
  }

  /** The process of these backends is gone, and with it every connection that they had. */
  breakAll(struck: (endpoint: Endpoint) => boolean): void {
    this.connections.breakAll(struck);
  }

  /** As breakAll, of connections whose clients wait for no work: they would never notice. */
  breakKept(struck: (endpoint: Endpoint) => boolean): void {
    this.connections.breakKept(struck);
  }

  private accepts(number: number): boolean {
    const placed = this.backends.find(number);
    if (placed === undefined) return false;
    const { endpoint, place } = placed;
    if (endpoint.gone || place.vanished || this.backends.isFull(placed)) return false;
    return place.refuseShare <= 0 || this.dialLuck() >= place.refuseShare;
  }

  private probe(number: number, heard: (load: Load) => void): void {
    const placed = this.backends.find(number);
    if (placed === undefined) return;
    const { endpoint, place } = placed;
    const half = Math.max(leastTripMs, place.pathMs) / 2;
    this.at(this.nowMs + half, () => {
      if (endpoint.gone || place.hangs || place.vanished || place.refuseShare >= 1) return;
      const load = this.backends.loadOf(endpoint);
      this.at(this.nowMs + half, () => {
        heard(load);
      });
    });
  }
}
