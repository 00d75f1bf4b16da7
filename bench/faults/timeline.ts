// From one trial's requests to its figures: what was lost, who was still sent to
// the bad backend and for how long, and how it came back. Pure.
import { quantile } from '../statistics.js';
import type { Outcome, Request } from './client.js';
import { badBackend, backendCount, fairShare, type Schedule } from './plan.js';

/** One trial's times on the shared clock; of a quiet trial, when it was watched. */
export interface Span {
  readonly faultFromMs: number;
  readonly faultToMs: number;
}

export interface FaultFigures {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly healthyP99Ms: number;
  /** Requests begun in the fault that got no answer. */
  readonly lost: number;
  readonly lostFrom500Ms: number;
  /** Begun in the second after the fault's end. */
  readonly lostSecondAfter: number;
  readonly shareFrom500Ms: number;
  readonly shareFrom2s: number;
  readonly shareFrom3s: number;
  /** After which no second of the fault has a share of 2 % or more; Infinity for never. */
  readonly lowAfterMs: number;
  readonly faultP99Ms: number;
  readonly faultP99OverHealthy: number;
  /** After the fault's end, the end of the first second with 0.9 of the fair share. */
  readonly recoveredAfterMs: number;
  /** The greatest share of any second after the fault's end, over the fair one. */
  readonly overshoot: number;
  /** The same of the backends that nothing happened to, on average: what chance makes of it. */
  readonly overshootOfOthers: number;
}

export interface LoadFigures {
  readonly requests: number;
  readonly lost: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const windowMs = 1000;
const lowShare = 0.02;
const recovered = 0.9 * fairShare;
/** The first connects of an agent and a client that have just started. */
const settleMs = 1000;
export const binMs = 250;
const binsBeforeMs = 2000;

/** Requests that were refused tell how fast an error is, not how fast the service is. */
function latencies(requests: readonly Request[]): number[] {
  return requests
    .filter(({ outcome }) => outcome === 'ok' || outcome === 'timeout')
    .map(({ latencyMs }) => latencyMs);
}

function latencyQuantile(requests: readonly Request[], q: number): number {
  return quantile(
    latencies(requests).toSorted((a, b) => a - b),
    q,
  );
}

function between(requests: readonly Request[], fromMs: number, toMs: number): Request[] {
  return requests.filter(({ startMs }) => startMs >= fromMs && startMs < toMs);
}

function lostOf(requests: readonly Request[]): number {
  return requests.filter(({ outcome }) => outcome !== 'ok').length;
}

/**
 * Whom a request was given to. From the fault on only the bad backend refuses,
 * resets or is silent, so what failed was given to it; the client's own errors were not.
 */
function givenTo({ backend, outcome, startMs }: Request, faultFromMs: number): number | null {
  if (outcome === 'ok' || outcome === 'other') return backend;
  return startMs >= faultFromMs ? badBackend : null;
}

function shareOf(requests: readonly Request[], backend: number, faultFromMs: number): number {
  const given = requests.filter((request) => givenTo(request, faultFromMs) === backend);
  return given.length / requests.length;
}

interface Window {
  readonly fromMs: number;
  readonly share: number;
}

/** Every second that begins with one of the requests and ends before `toMs`. */
function windows(
  requests: readonly Request[],
  backend: number,
  faultFromMs: number,
  toMs: number,
): Window[] {
  const given = requests.map((request) => (givenTo(request, faultFromMs) === backend ? 1 : 0));
  const found: Window[] = [];
  let [end, hits] = [0, 0];
  for (const [begin, { startMs }] of requests.entries()) {
    if (startMs + windowMs > toMs) break;
    for (; end < requests.length; end++) {
      if ((requests[end]?.startMs ?? Infinity) >= startMs + windowMs) break;
      hits += given[end] ?? 0;
    }
    found.push({ fromMs: startMs, share: hits / (end - begin) });
    hits -= given[begin] ?? 0;
  }
  return found;
}

function lowAfterMs(seconds: readonly Window[], faultFromMs: number): number {
  const last = seconds.findLastIndex(({ share }) => share >= lowShare);
  if (last < 0) return 0;
  return (seconds[last + 1]?.fromMs ?? Infinity) - faultFromMs;
}

function greatest(seconds: readonly Window[]): number {
  return Math.max(0, ...seconds.map(({ share }) => share));
}

export function loadFigures(requests: readonly Request[]): LoadFigures {
  return {
    requests: requests.length,
    lost: lostOf(requests),
    p50Ms: latencyQuantile(requests, 0.5),
    p99Ms: latencyQuantile(requests, 0.99),
  };
}

export function faultFigures(requests: readonly Request[], span: Span): FaultFigures {
  const { faultFromMs: from, faultToMs: to } = span;
  const firstMs = requests[0]?.startMs ?? 0;
  const inFault = between(requests, from, to);
  const after = between(requests, to, Infinity);
  const lastMs = after.at(-1)?.startMs ?? to;
  const shareFrom = (ms: number) => shareOf(between(inFault, from + ms, to), badBackend, from);
  const secondsAfter = (backend: number) => windows(after, backend, from, lastMs);
  const others = Array.from({ length: backendCount }, (_, i) => i).filter((i) => i !== badBackend);
  const healthyP99Ms = latencyQuantile(between(requests, firstMs + settleMs, from), 0.99);
  const faultP99Ms = latencyQuantile(between(inFault, from + 2000, to), 0.99);
  const back = secondsAfter(badBackend).find(({ share }) => share >= recovered);
  const { p50Ms, p99Ms } = loadFigures(requests);
  return {
    requests: requests.length,
    p50Ms,
    p99Ms,
    healthyP99Ms,
    lost: lostOf(inFault),
    lostFrom500Ms: lostOf(between(inFault, from + 500, to)),
    lostSecondAfter: lostOf(between(after, to, to + 1000)),
    shareFrom500Ms: shareFrom(500),
    shareFrom2s: shareFrom(2000),
    shareFrom3s: shareFrom(3000),
    lowAfterMs: lowAfterMs(windows(inFault, badBackend, from, to), from),
    faultP99Ms,
    faultP99OverHealthy: faultP99Ms / healthyP99Ms,
    recoveredAfterMs: (back?.fromMs ?? Infinity) + windowMs - to,
    overshoot: greatest(secondsAfter(badBackend)) / fairShare,
    overshootOfOthers:
      others.reduce((sum, other) => sum + greatest(secondsAfter(other)), 0) /
      others.length /
      fairShare,
  };
}

/** The bad backend's share in each 250 ms, from 2 s before the fault to the end. */
export function binShares(
  requests: readonly Request[],
  { faultFromMs }: Span,
  schedule: Schedule,
): { readonly fromMs: number; readonly shares: readonly number[] } {
  const fromMs = faultFromMs - binsBeforeMs;
  const bins = Math.floor((binsBeforeMs + schedule.faultMs + schedule.recoveryMs) / binMs);
  const shares = Array.from({ length: bins }, (_, bin) => {
    const begin = fromMs + bin * binMs;
    return shareOf(between(requests, begin, begin + binMs), badBackend, faultFromMs);
  });
  return { fromMs, shares };
}

export function outcomesOf(requests: readonly Request[]): Partial<Record<Outcome, number>> {
  const counts: Partial<Record<Outcome, number>> = {};
  for (const { outcome } of requests) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

/** How late the client was with its own schedule: what it adds to nobody's account. */
export function lateP99Ms(requests: readonly Request[]): number {
  return quantile(
    requests.map(({ lateMs }) => lateMs).toSorted((a, b) => a - b),
    0.99,
  );
}
