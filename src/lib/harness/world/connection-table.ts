// The connections of the simulated world, by number: plain columns, for there are
// millions. A number is used again once its connection is over; its stamp tells events of
// the old one from those of the new.

export const Phase = { free: 0, connecting: 1, established: 2 } as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

/** A connection that rests has no request under way. */
export const noRequest = -1;

export class ConnectionTable {
  readonly stamp: number[] = [];
  readonly phase: Phase[] = [];
  readonly request: number[] = [];
  readonly endpoint: number[] = [];
  readonly group: number[] = [];
  /** The node that it comes from and its service, as the world numbers the two together. */
  readonly home: number[] = [];
  readonly exchange: number[] = [];
  /** How often the client sent on it. */
  readonly sends: number[] = [];
  /** When it, or its request, began. */
  readonly beganMs: number[] = [];
  /** When its client stops sending, or lets it go. */
  readonly untilMs: number[] = [];
  private readonly unused: number[] = [];

  take(): number {
    const connection = this.unused.pop() ?? this.stamp.length;
    this.stamp[connection] ??= 0;
    this.phase[connection] = Phase.free;
    return connection;
  }

  begin(
    connection: number,
    request: number,
    endpoint: number,
    group: number,
    home: number,
    nowMs: number,
  ): void {
    this.phase[connection] = Phase.connecting;
    this.request[connection] = request;
    this.endpoint[connection] = endpoint;
    this.group[connection] = group;
    this.home[connection] = home;
    this.exchange[connection] = 0;
    this.sends[connection] = 0;
    this.beganMs[connection] = nowMs;
    this.untilMs[connection] = Infinity;
  }

  /** What was set on the calendar for it is void. */
  turn(connection: number): number {
    const stamp = (this.stamp[connection] ?? 0) + 1;
    this.stamp[connection] = stamp;
    return stamp;
  }

  free(connection: number): void {
    this.phase[connection] = Phase.free;
    this.unused.push(connection);
  }

  /** Those that stand now, in the order of their numbers. */
  established(): number[] {
    const standing: number[] = [];
    this.phase.forEach((phase, connection) => {
      if (phase === Phase.established) standing.push(connection);
    });
    return standing;
  }
}
