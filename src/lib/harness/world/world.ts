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
import { Backends, type Endpoint, type Placed } from './backends.js';
import { Calendar } from './calendar.js';
import { Connections, noRequest, Phase } from './connections.js';
import type { Front, Parting } from './front.js';
import { allHabits, type Habits } from './habits.js';
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
  /** A SYN that nobody answered is sent again. */
  repeat: 8,
  /** The client sends more. */
  send: 9,
  /** What the client waits for has happened at the backend. */
  happened: 10,
  /** The backend answers with an error. */
  error: 11,
  /** The client lets the connection go. */
  leave: 12,
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
/** A SYN is repeated after a second, and each time after twice as long (RFC 6298). */
const repeatAfterMs = 1000;

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
  /** What each answer waits for beyond its backend's work. */
  sharedMs: Sampler | undefined;

  private readonly scenario: Scenario;
  private readonly groups: readonly Habits[];
  private readonly calls: (() => void)[] = [];
  private readonly freeCalls: number[] = [];
  private readonly luck: Random;
  private readonly onPick: WorldOptions['onPick'];
  /** By group. */
  private readonly arrivalStamps: number[];
  private readonly connections = new Connections();

  // Requests that may still be dialled again, by number.
  private readonly attempts = new Map<number, number>();
  private readonly home: number[] = [];

  constructor({ scenario, seed, makeFront, onPick }: WorldOptions) {
    this.scenario = scenario;
    this.onPick = onPick;
    this.groups = allHabits(scenario, seed);
    this.arrivalStamps = this.groups.map(() => 0);
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
    for (const group of this.groups) this.beginGroup(group);
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
        if (which === this.connections.stamp[who]) this.happenTo(who, kind);
    }
  }

  private happenTo(connection: number, kind: number): void {
    switch (kind) {
      case Event.reach:
        this.reach(connection);
        break;
      case Event.answer:
        this.answer(connection);
        break;
      case Event.giveUp:
        this.end(connection, 'timedOut', 'client');
        break;
      case Event.think:
        this.again(connection);
        break;
      case Event.repeat:
        this.repeat(connection);
        break;
      case Event.send:
        this.sendMore(connection);
        break;
      case Event.happened:
        this.ready(connection);
        break;
      case Event.error:
        this.frontOf(connection).answered(connection, this.sendsOf(connection), this.nowMs);
        this.end(connection, 'failed', 'client');
        break;
      case Event.leave:
        this.leave(connection);
        break;
      default:
        throw new Error(`no connection knows of an event ${kind}`);
    }
  }

  private beginGroup({ number, spec }: Habits): void {
    if (spec.speaks !== 'pool') {
      this.nextArrival(number);
      return;
    }
    for (let i = 0; i < spec.size; i++)
      this.at(this.nowMs + (i * spec.within) / spec.size, () => {
        this.arrive(this.groupOf(number));
      });
  }

  /** The rate of arrivals changed: what was drawn for the old one is void. */
  setLoad(factor: number): void {
    this.load = factor;
    for (const { number } of this.groups) this.nextArrival(number);
  }

  private groupOf(number: number): Habits {
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
    else if (gapMs < Infinity)
      this.calendar.at(this.nowMs + gapMs, Event.arrive, number, stamp);
  }

  private arrive({ number, arrivals }: Habits): void {
    const { services, nodes } = this.scenario;
    const request = this.ledger.begin(this.nowMs, number);
    const node = nodes === 1 ? 0 : Math.floor(arrivals() * nodes);
    const service = services === 1 ? 0 : Math.floor(arrivals() * services);
    this.home[request] = node * services + service;
    this.nextArrival(number);
    this.dial(request);
  }

  private front(node: number): Front {
    const front = this.fronts[node];
    if (front === undefined) throw new Error(`there is no node ${node}`);
    return front;
  }

  private frontOf(connection: number): Front {
    const home = this.connections.home[connection] ?? -1;
    return this.front(Math.floor(home / this.scenario.services));
  }

  private habitsOf(connection: number): Habits {
    return this.groupOf(this.connections.group[connection] ?? -1);
  }

  private sendsOf(connection: number): number {
    return this.connections.sends[connection] ?? 0;
  }

  private dial(request: number): void {
    const { connections, nowMs } = this;
    const { services } = this.scenario;
    const group = this.groupOf(this.ledger.group[request] ?? -1);
    const connection = connections.take();
    const home = this.home[request] ?? 0;
    const node = Math.floor(home / services);
    const service = home % services;
    this.connects++;
    const number = this.front(node).dial(connection, service, group.client, nowMs);
    const placed = this.backends.find(number);
    if (placed === undefined) {
      connections.free(connection);
      this.ledger.turnedAway.push({ atMs: nowMs, group: group.number });
      this.ended(request, 'turnedAway');
      return;
    }
    const { endpoint, place } = placed;
    if (endpoint.service !== service) {
      throw new Error(`a connect to service ${service} went to service ${endpoint.service}`);
    }
    connections.begin(connection, request, number, group.number, home, nowMs);
    this.ledger.place[request] = endpoint.place;
    this.onPick?.(nowMs, endpoint);
    if (group.spec.speaks === 'unsent') {
      this.set(connection, group.holdMs(), Event.leave);
      return;
    }
    this.front(node).connecting(connection, nowMs);
    this.set(connection, group.patienceMs(), Event.giveUp);
    this.set(connection, place.pathMs, Event.reach);
  }

  /** Sets an event of a connection as it stands. */
  private set(connection: number, inMs: number, event: number): void {
    if (inMs === Infinity) return;
    const stamp = this.connections.stamp[connection] ?? 0;
    this.calendar.at(this.nowMs + inMs, event, connection, stamp);
  }

  private placeOf(connection: number): Placed {
    const placed = this.backends.find(this.connections.endpoint[connection] ?? -1);
    if (placed === undefined) throw new Error('a connection to nobody');
    return placed;
  }

  /** The handshake's end. */
  private reach(connection: number): void {
    const placed = this.placeOf(connection);
    const { endpoint, place } = placed;
    if (place.vanished) {
      const waitedMs = this.nowMs - (this.connections.beganMs[connection] ?? 0);
      let atMs = repeatAfterMs;
      while (atMs <= waitedMs) atMs = 2 * atMs + repeatAfterMs;
      this.set(connection, atMs - waitedMs, Event.repeat);
      return;
    }
    const full = this.backends.isFull(placed);
    if (endpoint.gone || full || (place.refuseShare > 0 && this.luck() < place.refuseShare)) {
      this.end(connection, 'refused', 'reset');
      return;
    }
    this.connections.phase[connection] = Phase.established;
    this.frontOf(connection).established(connection, this.nowMs);
    this.begin(connection);
  }

  private repeat(connection: number): void {
    this.frontOf(connection).repeated(connection, this.nowMs);
    this.set(connection, this.placeOf(connection).place.pathMs, Event.reach);
  }

  /** The connection stands: what its client does first. */
  private begin(connection: number): void {
    const group = this.habitsOf(connection);
    switch (group.spec.speaks) {
      case 'probe':
        this.keep(connection, group.holdMs());
        return;
      case 'pool':
        this.connections.untilMs[connection] = this.nowMs + group.lastMs();
        this.succeed(connection);
        this.rest(connection);
        return;
      case 'never':
        // Nobody waits for an answer: what there was to do is done when it is sent.
        this.keep(connection, group.holdMs());
        this.sendMore(connection);
        return;
      case 'uploads':
        this.connections.untilMs[connection] = this.nowMs + group.sendMs();
        this.sendMore(connection);
        return;
      default:
        this.exchange(connection);
    }
  }

  /** The client keeps the connection for so long; its patience no longer counts. */
  private keep(connection: number, forMs: number): void {
    this.connections.turn(connection);
    this.connections.untilMs[connection] = this.nowMs + forMs;
    this.set(connection, forMs, Event.leave);
  }

  private send(connection: number, acknowledged: boolean): void {
    const before = this.sendsOf(connection);
    this.frontOf(connection).sent(connection, before, acknowledged, this.nowMs);
    this.connections.sends[connection] = before + 1;
  }

  /** The next of several sends that want no answer yet. */
  private sendMore(connection: number): void {
    const { spec } = this.habitsOf(connection);
    if (spec.speaks !== 'never' && spec.speaks !== 'uploads') return;
    const everyMs = spec.every ?? Infinity;
    const { endpoint, place } = this.placeOf(connection);
    // What was sent before is acknowledged after a trip, unless there is nobody any more.
    this.send(connection, !place.vanished && everyMs >= place.pathMs);
    if (endpoint.gone) {
      this.end(connection, 'failed', 'reset');
      return;
    }
    if (this.nowMs + everyMs < (this.connections.untilMs[connection] ?? 0))
      this.set(connection, everyMs, Event.send);
    else if (spec.speaks === 'uploads') this.ask(connection);
  }

  private exchange(connection: number): void {
    this.send(connection, true);
    this.ask(connection);
  }

  /** The client has sent what it had to, and waits. */
  private ask(connection: number): void {
    const placed = this.placeOf(connection);
    const { endpoint, place } = placed;
    if (endpoint.gone || (place.failShare > 0 && this.luck() < place.failShare)) {
      this.end(connection, 'failed', 'reset');
      return;
    }
    if (place.hangs || place.vanished) return;
    if (place.errorShare > 0 && this.luck() < place.errorShare) {
      this.set(connection, place.errorMs() + place.pathMs, Event.error);
      return;
    }
    const { eventMs } = this.habitsOf(connection);
    if (eventMs !== undefined) this.set(connection, eventMs(), Event.happened);
    else
      this.backends.take(
        placed,
        connection,
        this.connections.stamp[connection] ?? 0,
        this.nowMs,
      );
  }

  private finish(job: number): void {
    const done = this.backends.finish(job, this.nowMs);
    const { connection, stamp } = done;
    if (stamp === this.connections.stamp[connection]) this.ready(connection);
    this.backends.beginNext(done, this.nowMs);
  }

  /** The backend has the answer, or has made up its mind to close. */
  private ready(connection: number): void {
    const { endpoint, place } = this.placeOf(connection);
    if (place.hangs || place.vanished) return;
    const awayMs = place.pathMs + (this.sharedMs?.() ?? 0);
    if (endpoint.gone) this.end(connection, 'failed', 'reset');
    else if (awayMs === 0) this.answer(connection);
    else this.set(connection, awayMs, Event.answer);
  }

  private answer(connection: number): void {
    const group = this.habitsOf(connection);
    const { spec } = group;
    if (spec.speaks === 'closes') {
      this.end(connection, 'answered', 'backend');
      return;
    }
    this.frontOf(connection).answered(connection, this.sendsOf(connection), this.nowMs);
    if (spec.speaks === 'pool') {
      this.succeed(connection);
      this.rest(connection);
      return;
    }
    if (spec.speaks === 'subscribers') {
      this.succeed(connection);
      this.connections.request[connection] = noRequest;
      this.keep(connection, group.holdMs());
      return;
    }
    const exchange = this.connections.exchange[connection] ?? 0;
    const { exchanges, think } = 'exchanges' in spec ? spec : { exchanges: 1, think: 0 };
    if (exchange + 1 >= exchanges) {
      this.end(connection, 'answered', 'client');
      return;
    }
    this.succeed(connection);
    this.connections.exchange[connection] = exchange + 1;
    this.connections.turn(connection);
    if (think === 0) this.again(connection);
    else this.set(connection, think, Event.think);
  }

  /** The request went as its protocol has it, and the connection stays. */
  private succeed(connection: number): void {
    const request = this.connections.request[connection] ?? noRequest;
    this.ledger.close(request, this.nowMs, 'answered');
    this.attempts.delete(request);
  }

  /** A pool's connection rests until it is used again, or has been kept for long enough. */
  private rest(connection: number): void {
    const { connections, nowMs } = this;
    const restsMs = this.habitsOf(connection).restMs();
    const leftMs = Math.max(0, (connections.untilMs[connection] ?? Infinity) - nowMs);
    connections.turn(connection);
    connections.request[connection] = noRequest;
    if (restsMs < leftMs) this.set(connection, restsMs, Event.think);
    else this.set(connection, leftMs, Event.leave);
  }

  /** The next exchange of a connection: a request of its own. */
  private again(connection: number): void {
    const { connections, nowMs } = this;
    const group = this.habitsOf(connection);
    const request = this.ledger.begin(nowMs, group.number);
    this.home[request] = connections.home[connection] ?? 0;
    this.ledger.place[request] = this.placeOf(connection).endpoint.place;
    connections.request[connection] = request;
    connections.beganMs[connection] = nowMs;
    this.set(connection, group.patienceMs(), Event.giveUp);
    this.exchange(connection);
  }

  /** The client lets go of a connection that it kept. */
  private leave(connection: number): void {
    const { spec } = this.habitsOf(connection);
    if (spec.speaks === 'unsent') this.end(connection, 'failed', 'client');
    else {
      const half = spec.speaks === 'never' && spec.closedBy === 'backend';
      this.end(connection, 'answered', half ? 'finished' : 'client');
    }
  }

  /** The connection is over. */
  private end(connection: number, end: End, parting: Parting): void {
    const { connections, nowMs } = this;
    const { number, spec } = this.habitsOf(connection);
    const request = connections.request[connection] ?? noRequest;
    const latencyMs = nowMs - (connections.beganMs[connection] ?? 0);
    connections.turn(connection);
    this.frontOf(connection).over(
      connection,
      nowMs,
      connections.endpoint[connection] ?? -1,
      latencyMs,
      end,
      parting,
    );
    connections.free(connection);
    if (request !== noRequest) this.ended(request, end);
    else if (spec.speaks === 'pool')
      this.reopen(number, end === 'answered' ? 0 : spec.reopens);
  }

  private reopen(number: number, inMs: number): void {
    this.at(this.nowMs + inMs, () => {
      this.arrive(this.groupOf(number));
    });
  }

  /** The client's attempt is over: it is content, tries again, or has tried enough. */
  private ended(request: number, end: End): void {
    const { number, spec } = this.groupOf(this.ledger.group[request] ?? -1);
    const { retries, backoff } = spec.speaks === 'pool' ? { retries: 0, backoff: 0 } : spec;
    const tried = this.attempts.get(request) ?? 0;
    if (end !== 'answered' && tried < retries) {
      this.attempts.set(request, tried + 1);
      this.calendar.at(this.nowMs + backoff * 2 ** tried, Event.redial, request);
      return;
    }
    this.attempts.delete(request);
    this.ledger.close(request, this.nowMs, end);
    // A request ends apart from its success only when its connection does.
    if (spec.speaks === 'pool') this.reopen(number, spec.reopens);
  }

  /** The backends' process is gone, and with it every connection that it had. */
  breakAll(struck: (endpoint: Endpoint) => boolean): void {
    for (const connection of this.connections.established()) {
      if (struck(this.placeOf(connection).endpoint)) this.end(connection, 'failed', 'reset');
    }
  }

  /** As breakAll, of those whose clients do not wait for work: they would never notice. */
  breakKept(struck: (endpoint: Endpoint) => boolean): void {
    for (const connection of this.connections.established()) {
      const { speaks } = this.habitsOf(connection).spec;
      const kept = this.connections.request[connection] === noRequest || speaks === 'never';
      if (kept && struck(this.placeOf(connection).endpoint))
        this.end(connection, 'failed', 'reset');
    }
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
