// A token bucket: so many a second, and so many at once. Time is an argument.

export class TokenBucket {
  private tokens: number;

  constructor(
    private readonly perSecond: number,
    private readonly capacity: number,
    private filledMs: number,
  ) {
    this.tokens = capacity;
  }

  /** Whole tokens that may be taken now. */
  available(nowMs: number): number {
    const earned = (Math.max(0, nowMs - this.filledMs) / 1000) * this.perSecond;
    this.tokens = Math.min(this.capacity, this.tokens + earned);
    this.filledMs = nowMs;
    return Math.floor(this.tokens);
  }

  take(tokens: number): void {
    this.tokens -= tokens;
  }
}
