// What the world asks of whoever stands between clients and backends on a node.
// Connections are numbered; a number is used again once its connection is over.
import type { Balancer, End } from '../balancer.js';

/**
 * How a connection was over: the `client` closed it; the `backend` closed, and then the
 * client; it was `reset`; or the client shut its side down, and the backend `finished` it.
 */
export type Parting = 'client' | 'backend' | 'reset' | 'finished';

export interface Front {
  /** The endpoints of a service from now on, in the order of their numbers. */
  serve(nowMs: number, service: number, endpoints: readonly number[]): void;
  /** The endpoint that a connection of a client goes to, or -1: nowhere. No SYN is sent yet. */
  dial(connection: number, service: number, client: number, nowMs: number): number;
  /** The SYN is sent. */
  connecting(connection: number, nowMs: number): void;
  /** Nobody answered the SYN, and it is sent once more. */
  repeated(connection: number, nowMs: number): void;
  established(connection: number, nowMs: number): void;
  /** The client sends, after `before` sends, which the backend had acknowledged all or not. */
  sent(connection: number, before: number, acknowledged: boolean, nowMs: number): void;
  /** An answer to all of the `sends` so far. */
  answered(connection: number, sends: number, nowMs: number): void;
  /** The connection is over, with what its client made of it; not told of one that went nowhere. */
  over(
    connection: number,
    nowMs: number,
    endpoint: number,
    latencyMs: number,
    end: End,
    parting: Parting,
  ): void;
}

/** Another's policy as a front: one balancer a service. */
export class BalancerFront implements Front {
  private readonly serviceOf: number[] = [];

  constructor(private readonly balancers: readonly Balancer[]) {}

  serve(_nowMs: number, service: number, endpoints: readonly number[]): void {
    this.balancers[service]?.serve(endpoints);
  }

  dial(connection: number, service: number): number {
    this.serviceOf[connection] = service;
    return this.balancers[service]?.pick(connection) ?? -1;
  }

  connecting(): void {
    // What a balancer knows, it knows from ends.
  }

  repeated(): void {
    // As above.
  }

  established(): void {
    // As above.
  }

  sent(): void {
    // As above.
  }

  answered(): void {
    // As above.
  }

  over(connection: number, _nowMs: number, endpoint: number, latencyMs: number, end: End): void {
    this.balancers[this.serviceOf[connection] ?? 0]?.ended(connection, endpoint, latencyMs, end);
  }
}
