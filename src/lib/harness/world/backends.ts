// The backends of the simulated world: the places of a service, who is or was in them, and
// the jobs that are worked at there or wait in line. It knows of no network and no client.
import { samplerOf, type Sampler } from '../chance/distributions.js';
import { randomOf } from '../chance/random.js';
import type { Load } from '../balancer.js';
import type { Scenario } from '../scenario.js';

/** How a backend's place in its service does; faults write here. */
export interface Place {
  readonly name: string;
  readonly concurrency: number;
  readonly queue: number;
  readonly pathMs: number;
  service: Sampler;
  /** Multiplies service times. */
  factor: number;
  refuseShare: number;
  failShare: number;
  hangs: boolean;
  errorShare: number;
  errorMs: Sampler;
  /** Its host is gone: nothing comes back from it. */
  vanished: boolean;
}

/** A backend that is, or was, in a place. Numbers are never used again. */
export interface Endpoint {
  readonly number: number;
  readonly service: number;
  readonly place: number;
  /** Its process is gone: connects are refused. */
  gone: boolean;
  /** Until when it is cold, and how much slower then. */
  coldUntilMs: number;
  coldFactor: number;
  busy: number;
  /** Jobs in line, oldest at `head`. */
  line: number[];
  head: number;
  /** Moving average of what it took of late, for those that probe. */
  latencyMs: number;
}

export interface Placed {
  readonly endpoint: Endpoint;
  readonly place: Place;
}

/** A job that is done, and the stamp that its connection had when it asked. */
interface Done extends Placed {
  readonly connection: number;
  readonly stamp: number;
}

/** Weight of the newest in an endpoint's own idea of its latency. */
const latencyGain = 0.1;

export class Backends {
  readonly places: Place[];
  readonly endpoints: Endpoint[] = [];

  // Jobs, by number: a client that gave up leaves its job behind.
  private readonly jobConnection: number[] = [];
  private readonly jobStamp: number[] = [];
  private readonly jobEndpoint: number[] = [];
  private readonly jobBeganMs: number[] = [];
  private readonly freeJobs: number[] = [];

  /** `finishAt` sees to it that finish() is called for the job at that time. */
  constructor(
    scenario: Scenario,
    seed: number,
    private readonly finishAt: (atMs: number, job: number) => void,
  ) {
    this.places = scenario.backends.flatMap((group) =>
      Array.from({ length: group.count }, (_, i): Place => {
        const purpose = `service of ${group.name} ${i}`;
        return {
          name: group.count === 1 ? group.name : `${group.name}-${i}`,
          concurrency: group.concurrency ?? Infinity,
          queue: group.queue ?? Infinity,
          pathMs: group.path,
          service: samplerOf(group.service, randomOf(seed, purpose)),
          factor: 1,
          refuseShare: 0,
          failShare: 0,
          hangs: false,
          errorShare: 0,
          errorMs: () => 0,
          vanished: false,
        };
      }),
    );
  }

  newEndpoint(service: number, place: number): Endpoint {
    const made: Endpoint = {
      number: this.endpoints.length,
      service,
      place,
      gone: false,
      coldUntilMs: 0,
      coldFactor: 1,
      busy: 0,
      line: [],
      head: 0,
      latencyMs: 0,
    };
    this.endpoints.push(made);
    return made;
  }

  /** Undefined for the number of nobody. */
  find(number: number): Placed | undefined {
    const endpoint = this.endpoints[number];
    const place = this.places[endpoint?.place ?? -1];
    return endpoint === undefined || place === undefined ? undefined : { endpoint, place };
  }

  isFull({ endpoint, place }: Placed): boolean {
    return endpoint.busy >= place.concurrency && waiting(endpoint) >= place.queue;
  }

  /** A job for `connection`, which is begun now or waits in line. */
  take({ endpoint, place }: Placed, connection: number, stamp: number, nowMs: number): void {
    const job = this.freeJobs.pop() ?? this.jobConnection.length;
    this.jobConnection[job] = connection;
    this.jobStamp[job] = stamp;
    this.jobEndpoint[job] = endpoint.number;
    this.jobBeganMs[job] = nowMs;
    if (endpoint.busy < place.concurrency) this.work(job, endpoint, place, nowMs);
    else endpoint.line.push(job);
  }

  private work(job: number, endpoint: Endpoint, place: Place, nowMs: number): void {
    endpoint.busy++;
    const cold = nowMs < endpoint.coldUntilMs ? endpoint.coldFactor : 1;
    this.finishAt(nowMs + place.service() * place.factor * cold, job);
  }

  /** Whoever answers for it may dial again before the next in line is begun. */
  finish(job: number, nowMs: number): Done {
    const placed = this.find(this.jobEndpoint[job] ?? -1);
    if (placed === undefined) throw new Error('a job at no backend');
    const { endpoint, place } = placed;
    endpoint.busy--;
    const tookMs = nowMs - (this.jobBeganMs[job] ?? 0);
    endpoint.latencyMs += (tookMs - endpoint.latencyMs) * latencyGain;
    this.freeJobs.push(job);
    return {
      endpoint,
      place,
      connection: this.jobConnection[job] ?? 0,
      stamp: this.jobStamp[job] ?? 0,
    };
  }

  beginNext({ endpoint, place }: Placed, nowMs: number): void {
    const next = endpoint.line[endpoint.head];
    if (next === undefined || endpoint.busy >= place.concurrency) return;
    if (++endpoint.head > 1024 && endpoint.head * 2 > endpoint.line.length) {
      endpoint.line = endpoint.line.slice(endpoint.head);
      endpoint.head = 0;
    }
    this.work(next, endpoint, place, nowMs);
  }

  /** What an endpoint says of itself: requests it has, and its latency of late at about that load. */
  loadOf(endpoint: Endpoint): Load {
    return { inFlight: endpoint.busy + waiting(endpoint), latencyMs: endpoint.latencyMs };
  }
}

function waiting({ line, head }: Endpoint): number {
  return line.length - head;
}
