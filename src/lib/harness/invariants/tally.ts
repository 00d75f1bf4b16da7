// What a run showed of one invariant: how often it was looked at, its worst, its first breach.
import type { InvariantName, Verdict, Violation } from '../invariant.js';
import type { Sight } from './examiner.js';

/** When it was seen. */
interface Moment {
  readonly sequence: number;
  readonly atMs: number;
}

export class Tally {
  private checks = 0;
  private worst: number | null = null;
  private limit = 0;
  private at: Verdict['at'] = null;
  private first: Violation | null = null;

  constructor(readonly name: InvariantName) {}

  /** Keeps what is nearest to its limit, or farthest beyond it; the breach, if it is one. */
  note(
    sight: Sight,
    { sequence, atMs }: Moment,
    route: string,
    words: { says(sight: Sight): string },
  ): Violation | null {
    const { seen, limit } = sight;
    this.checks++;
    if (this.worst === null || seen - limit > this.worst - this.limit) {
      this.worst = seen;
      this.limit = limit;
      this.at = { sequence, atMs, route };
    }
    if (seen <= limit) return null;
    const { name: invariant } = this;
    const violation = { invariant, sequence, atMs, route, ...sight, says: words.says(sight) };
    this.first ??= violation;
    return violation;
  }

  verdict(): Verdict {
    const { name, checks, worst, limit, at, first } = this;
    return { name, pass: first === null, checks, worst, limit, at, first };
  }
}
