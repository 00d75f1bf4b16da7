// The life of a connection in the simulated world: the handshake, what its protocol has
// the client and the backend do, and its end. Whose request it carries, and whether that
// is tried again, the world knows.
import type { End } from '../balancer.js';
import type { Random } from '../chance/random.js';
import type { Sampler } from '../chance/distributions.js';
import type { Backends, Endpoint, Placed } from './backends.js';
import { ConnectionTable, noRequest, Phase } from './connection-table.js';
import type { Calendar } from './calendar.js';
import { Event } from './events.js';
import type { Front, Parting } from './front.js';
import type { Habits } from './habits.js';
import type { Ledger } from './ledger.js';

/** What a connection meets, and who is told of it. */
export interface Surroundings {
  readonly nowMs: number;
  readonly calendar: Calendar;
  readonly ledger: Ledger;
  readonly backends: Backends;
  readonly luck: Random;
  /** What each answer waits for beyond its backend's work. */
  readonly sharedMs: Sampler | undefined;
  frontOf(home: number): Front;
  serviceOf(home: number): number;
  groupOf(number: number): Habits;
  /** A request of the group, which comes from `home`. */
  begin(group: Habits, home: number): number;
  /** An attempt went somewhere. */
  picked(request: number, endpoint: Endpoint): void;
  /** Its request went as the protocol has it, and the connection stays. */
  succeeded(request: number): void;
  /** The attempt is over, and the connection with it. */
  ended(request: number, end: End): void;
  /** A connection is over that had no request under way. */
  lost(group: Habits, end: End): void;
}

/** A SYN is repeated after a second, and each time after twice as long (RFC 6298). */
const repeatAfterMs = 1000;

export class Connections {
  private readonly table = new ConnectionTable();

  constructor(private readonly world: Surroundings) {}

  /** A connection for a request of the group, which comes from `home`. */
  dial(request: number, group: Habits, home: number): void {
    const { table, world } = this;
    const { nowMs } = world;
    const connection = table.take();
    const front = world.frontOf(home);
    const service = world.serviceOf(home);
    const number = front.dial(connection, service, group.client, nowMs);
    const placed = world.backends.find(number);
    if (placed === undefined) {
      table.free(connection);
      world.ended(request, 'turnedAway');
      return;
    }
    const { endpoint, place } = placed;
    if (endpoint.service !== service) {
      throw new Error(`a connect to service ${service} went to service ${endpoint.service}`);
    }
    table.begin(connection, request, number, group.number, home, nowMs);
    world.picked(request, endpoint);
    if (group.spec.speaks === 'unsent') {
      this.set(connection, group.holdMs(), Event.leave);
      return;
    }
    front.connecting(connection, nowMs);
    this.set(connection, group.patienceMs(), Event.giveUp);
    this.set(connection, place.pathMs, Event.reach);
  }

  /** An event of the calendar, unless it is void. */
  happen(connection: number, stamp: number, kind: number): void {
    if (stamp !== this.table.stamp[connection]) return;
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
        this.frontOf(connection).answered(connection, this.sendsOf(connection), this.world.nowMs);
        this.end(connection, 'failed', 'client');
        break;
      case Event.leave:
        this.leave(connection);
        break;
      default:
        throw new Error(`no connection knows of an event ${kind}`);
    }
  }

  /** Sets an event of a connection as it stands. */
  private set(connection: number, inMs: number, event: number): void {
    if (inMs === Infinity) return;
    const stamp = this.table.stamp[connection] ?? 0;
    this.world.calendar.at(this.world.nowMs + inMs, event, connection, stamp);
  }

  private frontOf(connection: number): Front {
    return this.world.frontOf(this.table.home[connection] ?? -1);
  }

  private habitsOf(connection: number): Habits {
    return this.world.groupOf(this.table.group[connection] ?? -1);
  }

  private sendsOf(connection: number): number {
    return this.table.sends[connection] ?? 0;
  }

  private placeOf(connection: number): Placed {
    const placed = this.world.backends.find(this.table.endpoint[connection] ?? -1);
    if (placed === undefined) throw new Error('a connection to nobody');
    return placed;
  }

  /** The handshake's end. */
  private reach(connection: number): void {
    const placed = this.placeOf(connection);
    const { endpoint, place } = placed;
    if (place.vanished) {
      const waitedMs = this.world.nowMs - (this.table.beganMs[connection] ?? 0);
      let atMs = repeatAfterMs;
      while (atMs <= waitedMs) atMs = 2 * atMs + repeatAfterMs;
      this.set(connection, atMs - waitedMs, Event.repeat);
      return;
    }
    const full = this.world.backends.isFull(placed);
    if (endpoint.gone || full || (place.refuseShare > 0 && this.world.luck() < place.refuseShare)) {
      this.end(connection, 'refused', 'reset');
      return;
    }
    this.table.phase[connection] = Phase.established;
    this.frontOf(connection).established(connection, this.world.nowMs);
    this.begin(connection);
  }

  private repeat(connection: number): void {
    this.frontOf(connection).repeated(connection, this.world.nowMs);
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
        this.table.untilMs[connection] = this.world.nowMs + group.lastMs();
        this.succeed(connection);
        this.rest(connection);
        return;
      case 'never':
        // Nobody waits for an answer: what there was to do is done when it is sent.
        this.keep(connection, group.holdMs());
        this.sendMore(connection);
        return;
      case 'uploads':
        this.table.untilMs[connection] = this.world.nowMs + group.sendMs();
        this.sendMore(connection);
        return;
      case 'unsent':
        throw new Error('a connection stands whose SYN was never sent');
      case 'request':
      case 'late':
      case 'closes':
      case 'gives-up':
      case 'subscribers':
        this.exchange(connection);
    }
  }

  /** The client keeps the connection for so long; its patience no longer counts. */
  private keep(connection: number, forMs: number): void {
    this.table.turn(connection);
    this.table.untilMs[connection] = this.world.nowMs + forMs;
    this.set(connection, forMs, Event.leave);
  }

  private send(connection: number, acknowledged: boolean): void {
    const before = this.sendsOf(connection);
    this.frontOf(connection).sent(connection, before, acknowledged, this.world.nowMs);
    this.table.sends[connection] = before + 1;
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
    if (this.world.nowMs + everyMs < (this.table.untilMs[connection] ?? 0))
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
    if (endpoint.gone || (place.failShare > 0 && this.world.luck() < place.failShare)) {
      this.end(connection, 'failed', 'reset');
      return;
    }
    if (place.hangs || place.vanished) return;
    if (place.errorShare > 0 && this.world.luck() < place.errorShare) {
      this.set(connection, place.errorMs() + place.pathMs, Event.error);
      return;
    }
    const { eventMs } = this.habitsOf(connection);
    if (eventMs !== undefined) this.set(connection, eventMs(), Event.happened);
    else
      this.world.backends.take(
        placed,
        connection,
        this.table.stamp[connection] ?? 0,
        this.world.nowMs,
      );
  }

  /** The backend has done the work that the connection asked for when it had this stamp. */
  worked(connection: number, stamp: number): void {
    if (stamp === this.table.stamp[connection]) this.ready(connection);
  }

  /** The backend has the answer, or has made up its mind to close. */
  private ready(connection: number): void {
    const { endpoint, place } = this.placeOf(connection);
    if (place.hangs || place.vanished) return;
    const awayMs = place.pathMs + (this.world.sharedMs?.() ?? 0);
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
    this.frontOf(connection).answered(connection, this.sendsOf(connection), this.world.nowMs);
    if (spec.speaks === 'pool') {
      this.succeed(connection);
      this.rest(connection);
      return;
    }
    if (spec.speaks === 'subscribers') {
      this.succeed(connection);
      this.table.request[connection] = noRequest;
      this.keep(connection, group.holdMs());
      return;
    }
    const exchange = this.table.exchange[connection] ?? 0;
    const { exchanges, think } = 'exchanges' in spec ? spec : { exchanges: 1, think: 0 };
    if (exchange + 1 >= exchanges) {
      this.end(connection, 'answered', 'client');
      return;
    }
    this.succeed(connection);
    this.table.exchange[connection] = exchange + 1;
    this.table.turn(connection);
    if (think === 0) this.again(connection);
    else this.set(connection, think, Event.think);
  }

  /** The request went as its protocol has it, and the connection stays. */
  private succeed(connection: number): void {
    this.world.succeeded(this.table.request[connection] ?? noRequest);
  }

  /** A pool's connection rests until it is used again, or has been kept for long enough. */
  private rest(connection: number): void {
    const { table, world } = this;
    const { nowMs } = world;
    const restsMs = this.habitsOf(connection).restMs();
    const leftMs = Math.max(0, (table.untilMs[connection] ?? Infinity) - nowMs);
    table.turn(connection);
    table.request[connection] = noRequest;
    if (restsMs < leftMs) this.set(connection, restsMs, Event.think);
    else this.set(connection, leftMs, Event.leave);
  }

  /** The next exchange of a connection: a request of its own. */
  private again(connection: number): void {
    const { table, world } = this;
    const { nowMs } = world;
    const group = this.habitsOf(connection);
    const request = this.world.begin(group, table.home[connection] ?? -1);
    this.world.ledger.place[request] = this.placeOf(connection).endpoint.place;
    table.request[connection] = request;
    table.beganMs[connection] = nowMs;
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
    const { table, world } = this;
    const { nowMs } = world;
    const group = this.habitsOf(connection);
    const request = table.request[connection] ?? noRequest;
    const latencyMs = nowMs - (table.beganMs[connection] ?? 0);
    table.turn(connection);
    this.frontOf(connection).over(
      connection,
      nowMs,
      table.endpoint[connection] ?? -1,
      latencyMs,
      end,
      parting,
    );
    table.free(connection);
    if (request === noRequest) this.world.lost(group, end);
    else this.world.ended(request, end);
  }

  /** The backends' process is gone, and with it every connection that it had. */
  breakAll(struck: (endpoint: Endpoint) => boolean): void {
    for (const connection of this.table.established()) {
      if (struck(this.placeOf(connection).endpoint)) this.end(connection, 'failed', 'reset');
    }
  }

  /** As breakAll, of those whose clients do not wait for work: they would never notice. */
  breakKept(struck: (endpoint: Endpoint) => boolean): void {
    for (const connection of this.table.established()) {
      const { speaks } = this.habitsOf(connection).spec;
      const kept = this.table.request[connection] === noRequest || speaks === 'never';
      if (kept && struck(this.placeOf(connection).endpoint))
        this.end(connection, 'failed', 'reset');
    }
  }
}
