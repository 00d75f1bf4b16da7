// When the open counts are compared with the sockets, and what is said of it. A kernel that
// does not list its sockets is told of once: the counts are then trusted as they are.
import type { Reconciled, Reconciler } from '../dataplane/reconcile.js';
import { messageOf } from '../errors.js';
import type { AgentLog } from './log.js';

/** A safeguard, not a signal: rare enough to cost nothing. */
const everyMs = 60_000;
/** What a new agent takes over was counted by another; its first ticks are not to wait for it. */
const firstAfterMs = 5_000;
/** A policy seldom changes, and may write each refusal to the log of the kernel. */
const refusedEveryMs = 3_600_000;

type Outcome =
  Extract<Reconciled, { kind: 'compared' }> | { readonly kind: 'refused'; readonly cause: string };

export class OpenCounts {
  private nextMs: number;
  /** Why they are not compared, as it was said last. */
  private saidCause: string | null = null;

  constructor(
    private readonly reconciler: Pick<Reconciler, 'run'>,
    private readonly log: AgentLog,
    nowMs: number,
  ) {
    this.nextMs = nowMs + firstAfterMs;
  }

  /** Compares if it is time to; called on every tick. */
  see(nowMs: number, backends: () => Iterable<number>): void {
    if (nowMs < this.nextMs) return;
    const outcome = this.compare(backends());
    this.nextMs = nowMs + (outcome.kind === 'refused' ? refusedEveryMs : everyMs);
    this.say(outcome);
  }

  private compare(backends: Iterable<number>): Outcome {
    try {
      return this.reconciler.run(backends);
    } catch (error) {
      // The agent serves on, whatever this safeguard comes to.
      return { kind: 'refused', cause: messageOf(error) };
    }
  }

  private say(outcome: Outcome): void {
    if (outcome.kind === 'refused') {
      if (outcome.cause === this.saidCause) return;
      this.saidCause = outcome.cause;
      this.log.warn(
        `open counts are not compared with the sockets, and trusted as they are: ${outcome.cause}`,
      );
      return;
    }
    if (this.saidCause !== null) {
      this.saidCause = null;
      this.log.info('the sockets can be listed: open counts are compared with them again');
    }
    if (outcome.corrected > 0) {
      this.log.warn(
        `${outcome.corrected} open counts differed from the sockets and were corrected`,
      );
    }
  }
}
