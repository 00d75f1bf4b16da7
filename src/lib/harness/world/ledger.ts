// What became of every request: plain columns, from which all figures of a run are made.
import { createHash } from 'node:crypto';

import { ends, type End } from '../balancer.js';
import type { Traffic } from '../result.js';

const under = 255;

type Column = Float64Array | Int32Array | Uint8Array | Uint16Array;

/** The value below which `part` of the sorted values lie (nearest rank); null of none. */
function quantile(sorted: Float64Array, part: number): number | null {
  if (sorted.length === 0) return null;
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? null;
}

const microseconds = (ms: number | null) => (ms === null ? null : Math.round(ms * 1000) / 1000);

export class Ledger {
  count = 0;
  startMs = new Float64Array(4096);
  endMs = new Float64Array(4096);
  /** Index in `ends`; 255 while it is under way. */
  end = new Uint8Array(4096).fill(under);
  /** The backend of its last attempt, by its place in the service; -1 for none. */
  place = new Int32Array(4096).fill(-1);
  /** The group of clients whose request it is, by number. */
  group = new Uint16Array(4096);
  /** Attempts that went nowhere, retries among them. */
  readonly turnedAway: { readonly atMs: number; readonly group: number }[] = [];

  /** A new request, by its number. They begin in the order of their numbers. */
  begin(nowMs: number, group: number): number {
    if (this.count === this.startMs.length) {
      const wider = <T extends Column>(old: T, made: T): T => {
        made.set(old);
        return made;
      };
      const size = this.count * 2;
      this.startMs = wider(this.startMs, new Float64Array(size));
      this.endMs = wider(this.endMs, new Float64Array(size));
      this.end = wider(this.end, new Uint8Array(size).fill(under));
      this.place = wider(this.place, new Int32Array(size).fill(-1));
      this.group = wider(this.group, new Uint16Array(size));
    }
    this.group[this.count] = group;
    this.startMs[this.count] = nowMs;
    return this.count++;
  }

  close(request: number, nowMs: number, end: End): void {
    this.endMs[request] = nowMs;
    this.end[request] = ends.indexOf(end);
  }

  /** The first request that began at `ms` or later. */
  private from(ms: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.startMs[middle] ?? 0) < ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * How many of the requests that began in [fromMs, toMs) were answered within `withinMs`;
   * of one group, or of all.
   */
  answeredWithin(
    fromMs: number,
    toMs: number,
    withinMs: number,
    group?: number,
  ): { of: number; count: number } {
    const to = this.from(toMs);
    let of = 0;
    let count = 0;
    for (let i = this.from(fromMs); i < to; i++) {
      if (this.end[i] === under || (group !== undefined && this.group[i] !== group)) continue;
      of++;
      if (this.end[i] === 0 && (this.endMs[i] ?? 0) - (this.startMs[i] ?? 0) <= withinMs) count++;
    }
    return { of, count };
  }

  /** Attempts that went nowhere in [fromMs, toMs); of one group, or of all. */
  refused(fromMs: number, toMs: number, group?: number): number {
    return this.turnedAway.filter(
      (each) =>
        each.atMs >= fromMs && each.atMs < toMs && (group === undefined || each.group === group),
    ).length;
  }

  /** Answers that came in [fromMs, toMs), whenever they were asked for. */
  goodput(fromMs: number, toMs: number): number {
    let count = 0;
    const to = this.from(toMs);
    for (let i = 0; i < to; i++) {
      const endMs = this.endMs[i] ?? 0;
      if (this.end[i] === 0 && endMs >= fromMs && endMs < toMs) count++;
    }
    return count;
  }

  /** Of the requests that began in [fromMs, toMs) and have ended; of one group, or of all. */
  traffic(fromMs: number, toMs: number, group?: number): Traffic {
    const from = this.from(fromMs);
    const to = this.from(toMs);
    const counts = new Map<End, number>(ends.map((end) => [end, 0]));
    const latencies = new Float64Array(to - from);
    let answered = 0;
    let requests = 0;
    for (let i = from; i < to; i++) {
      const end = ends[this.end[i] ?? under];
      if (end === undefined || (group !== undefined && this.group[i] !== group)) continue;
      requests++;
      counts.set(end, (counts.get(end) ?? 0) + 1);
      if (end === 'answered') {
        latencies[answered++] = (this.endMs[i] ?? 0) - (this.startMs[i] ?? 0);
      }
    }
    const sorted = latencies.subarray(0, answered).sort();
    const at = (part: number) => microseconds(quantile(sorted, part));
    const mean = answered === 0 ? null : sorted.reduce((sum, ms) => sum + ms, 0) / answered;
    return {
      requests,
      ends: Object.fromEntries(counts) as Record<End, number>,
      meanMs: microseconds(mean),
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      p999Ms: at(0.999),
      maxMs: at(1),
    };
  }

  /** SHA-256 over every request and its fate. */
  digest(): string {
    const hash = createHash('sha256');
    const columns = [this.startMs, this.endMs, this.end, this.place];
    for (const column of columns) hash.update(column.subarray(0, this.count));
    return hash.digest('hex');
  }
}
