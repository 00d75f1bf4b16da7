// How long the talk with the API server may take, and how often it happens. A thousand
// idle agents share one server, so each figure has its part in requests a second.

export interface Timing {
  /** Objects in a page of a list: what is read and parsed without a pause. */
  readonly pageSize: number;
  /** A watch is asked to end after a time between these: 2 watches of 1,000 agents are 4.4 requests/s. */
  readonly watchSeconds: readonly [number, number];
  /** A watch that says nothing for so long is dead; servers send a bookmark a minute. */
  readonly silenceMs: number;
  /** Patience for an answer's head, and for each part of its body. */
  readonly answerMs: number;
  readonly backoffMs: readonly [number, number];
  /** How often the node and the API server's own endpoints are looked at: 1.1 requests/s. */
  readonly refreshMs: number;
}

export const defaultTiming: Timing = {
  pageSize: 500,
  watchSeconds: [300, 600],
  silenceMs: 150_000,
  answerMs: 15_000,
  backoffMs: [500, 30_000],
  refreshMs: 1_800_000,
};

/** Between the two, so that agents which began together do not go on together. */
export function between([least, most]: readonly [number, number], random: () => number): number {
  return least + (most - least) * random();
}

/** Exponential, with full jitter above half: after an outage agents come back spread out. */
export class Backoff {
  private failures = 0;

  constructor(
    private readonly range: readonly [number, number],
    private readonly random: () => number,
  ) {}

  reset(): void {
    this.failures = 0;
  }

  nextMs(): number {
    const [least, most] = this.range;
    const whole = Math.min(most, least * 2 ** Math.min(this.failures++, 20));
    return between([whole / 2, whole], this.random);
  }
}

/** Ends early, and without an error, when it is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

/** A signal changes while a loop waits, which a type checker cannot see. */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
