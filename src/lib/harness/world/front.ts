// What the world asks of whoever stands between clients and backends on a node.
// Connections are numbered; a number is used again once its connection is over.
import type { Balancer, End } from '../balancer.js';

export interface Front {
  /** The endpoints of a service from now on, in the order of their numbers. */
  serve(nowMs: number, service: number, endpoints: readonly number[]): void;
  /** The endpoint that a connection goes to, or -1: nowhere. */
  dial(connection: number, service: number, nowMs: number): number;
  established(connection: number, nowMs: number): void;
  /** Exchanges of a connection are numbered from 0. */
  sent(connection: number, exchange: number, nowMs: number): void;
  answered(connection: number, exchange: number, nowMs: number): void;
  /** The connection is over, with what its client made of it; not told of one that went nowhere. */
  over(connection: number, nowMs: number, endpoint: number, latencyMs: number, end: End): void;
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

  established(): void {
    // What a balancer knows, it knows from ends.
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
