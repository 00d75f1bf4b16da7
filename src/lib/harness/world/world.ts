// The simulated world: clients dial, a front sends them somewhere, a backend answers,
// refuses or hangs, and the clock is whatever comes next. Nothing here balances anything.
//
// A connection takes one trip of the path to be established or refused, and another for
// each exchange, which is travelled after the backend has done its work.
import { exponential } from '../chance/distributions.js';
import { randomOf, type Random } from '../chance/random.js';
import type { End, Load, NodeView } from '../balancer.js';
import { rateAt, type Scenario } from '../scenario.js';
import { Backends, type Endpoint, type Placed } from './backends.js';
import { Calendar } from './calendar.js';
import type { Front } from './front.js';
import { Ledger } from './ledger.js';

/** What the calendar's events mean. */
const Event = {
  arrive: 0,
  reach: 1,
  finish: 2,
  answer: 3,
  giveUp: 4,
  redial: 5,
  think: 6,
  /** From here on the one who set it is told. */
  call: 7,
} as const;

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

export class World {
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

  private readonly scenario: Scenario;
  private readonly calls: (() => void)[] = [];
  private readonly freeCalls: number[] = [];
  private readonly arrivals: Random;
  private readonly luck: Random;
  private readonly onPick: WorldOptions['onPick'];
  private arrivalStamp = 0;

  // Connections, by number.
  private readonly stamp: number[] = [];
  private readonly requestOf: number[] = [];
  private readonly endpointOf: number[] = [];
  private readonly exchangeOf: number[] = [];
  private readonly dialledMs: number[] = [];
  private readonly freeConnections: number[] = [];

  // Requests that may still be dialled again, by number.
  private readonly attempts = new Map<number, number>();
  private readonly home: number[] = [];

  constructor({ scenario, seed, makeFront, onPick }: WorldOptions) {
    this.scenario = scenario;
    this.onPick = onPick;
    this.arrivals = randomOf(seed, 'arrivals');
    this.luck = randomOf(seed, 'luck');
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
    this.nextArrival();
  }

  private viewOf(random: Random): NodeView {
    return {
      random,
      nowMs: () => this.nowMs,
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
        if (which === this.arrivalStamp) this.arrive();
        break;
      case Event.reach:
        if (which === this.stamp[who]) this.reach(who);
        break;
      case Event.finish:
        this.finish(who);
        break;
      case Event.answer:
        if (which === this.stamp[who]) this.answer(who);
        break;
      case Event.giveUp:
        if (which === this.stamp[who]) this.end(who, 'timedOut');
        break;
      case Event.redial:
        this.dial(who);
        break;
      case Event.think:
        if (which === this.stamp[who]) this.again(who);
        break;
      default: {
        const call = this.calls[who];
        this.freeCalls.push(who);
        call?.();
      }
    }
  }

  /** The rate of arrivals changed: what was drawn for the old one is void. */
  setLoad(factor: number): void {
    this.load = factor;
    this.nextArrival();
  }

  private nextArrival(): void {
    const { rate, arrivals } = this.scenario.clients;
    this.arrivalStamp++;
    const perMs = (rateAt(rate, this.nowMs) * this.load) / 1000;
    const gapMs =
      perMs === 0 ? Infinity : (arrivals === 'even' ? 1 : exponential(this.arrivals)) / perMs;
    const step =
      typeof rate === 'number'
        ? Infinity
        : (rate.find(({ from }) => from > this.nowMs)?.from ?? Infinity);
    // Arrivals of a Poisson process have no memory: at a step of the rate one draws again.
    if (this.nowMs + gapMs >= step)
      this.at(step, () => {
        this.nextArrival();
      });
    else if (gapMs < Infinity)
      this.calendar.at(this.nowMs + gapMs, Event.arrive, 0, this.arrivalStamp);
  }

  private arrive(): void {
    const { services, nodes } = this.scenario;
    const request = this.ledger.begin(this.nowMs);
    const node = nodes === 1 ? 0 : Math.floor(this.arrivals() * nodes);
    const service = services === 1 ? 0 : Math.floor(this.arrivals() * services);
    this.home[request] = node * services + service;
    this.nextArrival();
    this.dial(request);
  }

  private nodeOf(request: number): number {
    return Math.floor((this.home[request] ?? 0) / this.scenario.services);
  }

  private frontOf(request: number): Front {
    const front = this.fronts[this.nodeOf(request)];
    if (front === undefined) throw new Error(`request ${request} comes from no node`);
    return front;
  }

  private dial(request: number): void {
    const connection = this.freeConnections.pop() ?? this.stamp.length;
    const service = (this.home[request] ?? 0) % this.scenario.services;
    this.connects++;
    const number = this.frontOf(request).dial(connection, service, this.nowMs);
    const placed = this.backends.find(number);
    this.stamp[connection] ??= 0;
    this.requestOf[connection] = request;
    this.endpointOf[connection] = number;
    this.exchangeOf[connection] = 0;
    this.dialledMs[connection] = this.nowMs;
    if (placed === undefined) {
      this.freeConnections.push(connection);
      this.ended(request, 'turnedAway');
      return;
    }
    const { endpoint, place } = placed;
    if (endpoint.service !== service) {
      throw new Error(`a connect to service ${service} went to service ${endpoint.service}`);
    }
    this.ledger.place[request] = endpoint.place;
    this.onPick?.(this.nowMs, endpoint);
    const stamp = this.stamp[connection] ?? 0;
    this.calendar.at(this.nowMs + this.scenario.clients.timeout, Event.giveUp, connection, stamp);
    this.calendar.at(this.nowMs + place.pathMs, Event.reach, connection, stamp);
  }

  private placeOf(connection: number): Placed {
    const placed = this.backends.find(this.endpointOf[connection] ?? -1);
    if (placed === undefined) throw new Error('a connection to nobody');
    return placed;
  }

  /** The handshake's end. */
  private reach(connection: number): void {
    const placed = this.placeOf(connection);
    const { endpoint, place } = placed;
    const full = this.backends.isFull(placed);
    if (endpoint.gone || full || (place.refuseShare > 0 && this.luck() < place.refuseShare)) {
      this.end(connection, 'refused');
      return;
    }
    this.frontOf(this.requestOf[connection] ?? 0).established(connection, this.nowMs);
    this.exchange(connection);
  }

  /** The client asks. */
  private exchange(connection: number): void {
    const exchange = this.exchangeOf[connection] ?? 0;
    const request = this.requestOf[connection] ?? 0;
    this.frontOf(request).sent(connection, exchange, this.nowMs);
    const placed = this.placeOf(connection);
    const { endpoint, place } = placed;
    if (endpoint.gone || (place.failShare > 0 && this.luck() < place.failShare)) {
      this.end(connection, 'failed');
      return;
    }
    if (place.hangs) return;
    this.backends.take(placed, connection, this.stamp[connection] ?? 0, this.nowMs);
  }

  private finish(job: number): void {
    const done = this.backends.finish(job, this.nowMs);
    const { endpoint, place, connection, stamp } = done;
    if (stamp === this.stamp[connection] && !place.hangs) {
      if (endpoint.gone) this.end(connection, 'failed');
      else if (place.pathMs === 0) this.answer(connection);
      else this.calendar.at(this.nowMs + place.pathMs, Event.answer, connection, stamp);
    }
    this.backends.beginNext(done, this.nowMs);
  }

  private answer(connection: number): void {
    const { exchanges, think } = this.scenario.clients;
    const request = this.requestOf[connection] ?? 0;
    const exchange = this.exchangeOf[connection] ?? 0;
    this.frontOf(request).answered(connection, exchange, this.nowMs);
    if (exchange + 1 >= exchanges) {
      this.end(connection, 'answered');
      return;
    }
    this.ledger.close(request, this.nowMs, 'answered');
    this.attempts.delete(request);
    this.exchangeOf[connection] = exchange + 1;
    const stamp = (this.stamp[connection] ?? 0) + 1;
    this.stamp[connection] = stamp;
    if (think === 0) this.again(connection);
    else this.calendar.at(this.nowMs + think, Event.think, connection, stamp);
  }

  /** The next exchange of a connection: a request of its own. */
  private again(connection: number): void {
    const before = this.requestOf[connection] ?? 0;
    const request = this.ledger.begin(this.nowMs);
    this.home[request] = this.home[before] ?? 0;
    this.ledger.place[request] = this.ledger.place[before] ?? -1;
    this.requestOf[connection] = request;
    this.dialledMs[connection] = this.nowMs;
    const { timeout } = this.scenario.clients;
    this.calendar.at(this.nowMs + timeout, Event.giveUp, connection, this.stamp[connection] ?? 0);
    this.exchange(connection);
  }

  /** The connection is over. */
  private end(connection: number, end: End): void {
    const request = this.requestOf[connection] ?? 0;
    const latencyMs = this.nowMs - (this.dialledMs[connection] ?? 0);
    this.stamp[connection] = (this.stamp[connection] ?? 0) + 1;
    this.frontOf(request).over(
      connection,
      this.nowMs,
      this.endpointOf[connection] ?? -1,
      latencyMs,
      end,
    );
    this.freeConnections.push(connection);
    this.ended(request, end);
  }

  /** The client's attempt is over: it is content, tries again, or has tried enough. */
  private ended(request: number, end: End): void {
    const { retries, backoff } = this.scenario.clients;
    const tried = this.attempts.get(request) ?? 0;
    if (end !== 'answered' && tried < retries) {
      this.attempts.set(request, tried + 1);
      this.calendar.at(this.nowMs + backoff * 2 ** tried, Event.redial, request);
      return;
    }
    this.attempts.delete(request);
    this.ledger.close(request, this.nowMs, end);
  }

  private probe(number: number, heard: (load: Load) => void): void {
    const placed = this.backends.find(number);
    if (placed === undefined) return;
    const { endpoint, place } = placed;
    const half = Math.max(leastTripMs, place.pathMs) / 2;
    this.at(this.nowMs + half, () => {
      if (endpoint.gone || place.hangs || place.refuseShare >= 1) return;
      const load = this.backends.loadOf(endpoint);
      this.at(this.nowMs + half, () => {
        heard(load);
      });
    });
  }
}
