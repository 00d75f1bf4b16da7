// What applications say of backends, over a unix socket, while it is fresh. It never asks
// anybody, keeps only what is served, and what an application sends can cost no more than
// the limits below; how the summaries weigh is decided elsewhere.
import type { Socket } from 'node:net';

import type { AppSummary } from '../field/signals.js';
import { AppConnection, type ConnectionLimits } from './app-connection.js';
import { parseSummaryLine, type LineProblem } from './app-summary-line.js';
import { TokenBucket } from './token-bucket.js';
import { listenAtPath, type UnixListener } from './unix-listener.js';

export interface AppSummaryLimits extends ConnectionLimits {
  readonly connections: number;
  /** Pairs of route and backend that are fresh at the same time. */
  readonly pairs: number;
}

export const appSummaryLimits: AppSummaryLimits = {
  lineBytes: 4_096,
  linesPerSecond: 1_000,
  // Each of the pairs twice a second. A wrong line costs some 10 µs, so that even the worst
  // senders leave the loop free for its ticks.
  allLinesPerSecond: 16_384,
  idleMs: 60_000,
  connections: 64,
  pairs: 8_192,
};

export interface AppSummariesOptions {
  /** Is it a backend of a route of this node? Asked for each line. */
  readonly served: (route: string, backend: string) => boolean;
  /** A summary older than this reads as absent; 2,000 without it. */
  readonly appSummaryMs?: number;
  /** Of the socket's file; 0o660 without it. */
  readonly mode?: number;
  /** The clock of `read`; performance.now() without it. */
  readonly nowMs?: () => number;
  /** Lower than appSummaryLimits, for tests. */
  readonly limits?: Partial<AppSummaryLimits>;
}

export interface AppSummaryCounts {
  readonly accepted: number;
  /** Lines that were wrong: no JSON, out of range, too long, of nothing that is served. */
  readonly rejected: number;
  /** Lines beyond the rate of their connection or of all, or of more pairs than there is room for. */
  readonly dropped: number;
  readonly refusedConnections: number;
}

interface Entry {
  readonly atMs: number;
  readonly summary: AppSummary;
}

export class AppSummaries {
  /** Oldest first: each new summary goes to the end. */
  private readonly entries = new Map<string, Entry>();
  private readonly sockets = new Set<Socket>();
  private readonly counted = { accepted: 0, rejected: 0, dropped: 0, refusedConnections: 0 };
  private readonly limits: AppSummaryLimits;
  private readonly nowMs: () => number;
  private readonly shared: TokenBucket;
  private listener: UnixListener | undefined;
  /** May be changed at any time, as a knob may. */
  appSummaryMs: number;

  /** Refuses a path at which another process listens, or which is something else than a socket. */
  static async listen(path: string, options: AppSummariesOptions): Promise<AppSummaries> {
    const summaries = new AppSummaries(options);
    summaries.listener = await listenAtPath(path, options.mode ?? 0o660, (socket) => {
      summaries.connected(socket);
    });
    return summaries;
  }

  private constructor(private readonly options: AppSummariesOptions) {
    this.limits = { ...appSummaryLimits, ...options.limits };
    this.nowMs = options.nowMs ?? (() => performance.now());
    this.appSummaryMs = options.appSummaryMs ?? 2_000;
    const { allLinesPerSecond } = this.limits;
    // A quarter of a second's worth at once: a burst of all must fit between two ticks.
    this.shared = new TokenBucket(allLinesPerSecond, allLinesPerSecond / 4, this.nowMs());
  }

  /** What was last said of the pair, or null if that is too long ago. */
  read(route: string, backend: string, nowMs: number): AppSummary | null {
    const entry = this.entries.get(pairKey(route, backend));
    return entry === undefined || this.expired(entry, nowMs) ? null : entry.summary;
  }

  counts(): AppSummaryCounts {
    return { ...this.counted };
  }

  async close(): Promise<void> {
    const closed = this.listener?.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private connected(socket: Socket): void {
    // A sender that goes away in the middle of something is its own affair.
    socket.on('error', () => undefined);
    if (this.sockets.size >= this.limits.connections) {
      this.counted.refusedConnections++;
      const problem: LineProblem = {
        error: `All ${this.limits.connections} connections are taken.`,
        hint: 'Keep one connection open for each application, and close those without use.',
      };
      socket.write(`${JSON.stringify(problem)}\n`);
      socket.destroySoon();
      return;
    }
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    new AppConnection(socket, {
      limits: this.limits,
      shared: this.shared,
      nowMs: this.nowMs,
      take: (line) => this.take(line),
      tooLong: () => this.counted.rejected++,
      dropped: (lines) => (this.counted.dropped += lines),
    });
  }

  private take(line: string): LineProblem | undefined {
    const parsed = parseSummaryLine(line);
    if ('error' in parsed) {
      this.counted.rejected++;
      return parsed;
    }
    const { route, backend, summary } = parsed;
    if (!this.options.served(route, backend)) {
      this.counted.rejected++;
      return {
        error: `${route} with the backend ${backend} is not served on this node.`,
        hint: 'Name a route and a backend that `nity inspect backends` lists.',
      };
    }
    if (!this.keep(pairKey(route, backend), { atMs: this.nowMs(), summary })) {
      this.counted.dropped++;
      return {
        error: `All ${this.limits.pairs} pairs of route and backend are taken.`,
        hint: 'Send summaries of fewer pairs, or less often.',
      };
    }
    this.counted.accepted++;
    return undefined;
  }

  /** False if there is no room; what expired makes room, oldest first. */
  private keep(key: string, entry: Entry): boolean {
    this.entries.delete(key);
    if (this.entries.size >= this.limits.pairs) {
      const [oldest] = this.entries;
      if (oldest === undefined || !this.expired(oldest[1], entry.atMs)) return false;
      this.entries.delete(oldest[0]);
    }
    this.entries.set(key, entry);
    return true;
  }

  private expired({ atMs }: Entry, nowMs: number): boolean {
    return nowMs - atMs > this.appSummaryMs;
  }
}

/** No name has a space in it (app-summary-line.ts). */
function pairKey(route: string, backend: string): string {
  return `${route} ${backend}`;
}
