// Kubernetes Events on Services: few, because every node could write the same one. Its
// name is made of what it says, so that the second node to say it is told "exists".
import { createHash } from 'node:crypto';

import type { AgentLog } from '../agent/log.js';
import { messageOf } from '../errors.js';
import { ApiError } from './client.js';

export type EventReason = 'NityAnnotationIgnored' | 'NityScaleHint';

export interface ServiceEvent {
  /** namespace/name. */
  readonly service: string;
  readonly uid: string;
  readonly reason: EventReason;
  readonly message: string;
  /** What makes two Events the same: one of them is enough. */
  readonly subject: string;
}

export interface EventWriterOptions {
  readonly post: (path: string, body: unknown, signal: AbortSignal) => Promise<void>;
  /** Of this agent. */
  readonly node: string;
  readonly log: AgentLog;
  readonly random: () => number;
  /** An Event waits for up to so long, that nodes which saw the same do not write together. */
  readonly spreadMs: number;
}

const mostWaiting = 100;
/** So many at once, and then one in so long. */
const burst = 10;
const everyMs = 10_000;
/** The same may be said again in the next period. */
const periodMs = 900_000;
const mostMessage = 1_024;

/** Writes Events until it is closed; what does not get through is counted and let go. */
export class EventWriter {
  private readonly stop = new AbortController();
  private readonly timers = new Set<NodeJS.Timeout>();
  /** When the last one had its turn, were they all evenly spaced. */
  private spacedMs = -everyMs;
  private refused = false;
  written = 0;
  dropped = 0;

  constructor(private readonly options: EventWriterOptions) {}

  write(event: ServiceEvent): void {
    if (this.timers.size >= mostWaiting) {
      this.dropped++;
      return;
    }
    const { random, spreadMs } = this.options;
    const seen = new Date();
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        void this.send(event, seen);
      },
      this.turnInMs() + random() * spreadMs,
    );
    this.timers.add(timer);
  }

  close(): void {
    this.stop.abort();
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  /** All nodes see things in the same order: what none had a turn for would be told by none. */
  private turnInMs(): number {
    const nowMs = performance.now();
    this.spacedMs = Math.max(this.spacedMs + everyMs, nowMs);
    return Math.max(0, this.spacedMs - nowMs - (burst - 1) * everyMs);
  }

  private async send(event: ServiceEvent, seen: Date): Promise<void> {
    const { post, node, log } = this.options;
    const [namespace = '', name = ''] = event.service.split('/');
    const period = Math.floor(seen.getTime() / periodMs);
    const said = createHash('sha256')
      .update(`${event.uid} ${event.subject} ${period}`)
      .digest('hex')
      .slice(0, 16);
    const body = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name}.nity-${said}`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Service', namespace, name, uid: event.uid },
      reason: event.reason,
      message: event.message.slice(0, mostMessage),
      type: 'Warning',
      source: { component: 'nity', host: node },
      reportingComponent: 'nity.dev/agent',
      reportingInstance: node,
      firstTimestamp: seen.toISOString(),
      lastTimestamp: seen.toISOString(),
      count: 1,
    };
    try {
      await post(`/api/v1/namespaces/${namespace}/events`, body, this.stop.signal);
      this.written++;
    } catch (error) {
      // 409: another node said it first.
      if (error instanceof ApiError && error.status === 409) return;
      this.dropped++;
      // Without the right to write Events the log has them, and this is told once.
      if (this.stop.signal.aborted || this.refused) return;
      this.refused = true;
      log.warn(`an Event could not be written: ${messageOf(error)}`);
    }
  }
}
