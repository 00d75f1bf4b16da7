// What a scenario demands, measured. A limit that compares with another policy is
// judged once that policy's run of the same seed is known.
import type { PolicyName } from './balancer.js';
import type { LimitOutcome } from './result.js';
import { fineMs, picks, worstShare, type Fine, type Span } from './shares.js';
import { backendsNamed, type Limit, type Scenario } from './scenario.js';
import type { Ledger } from './world/ledger.js';
import type { ChurnPoint } from './world/slot-watch.js';

/** What a run leaves for its limits. */
export interface Evidence {
  readonly scenario: Scenario;
  readonly policy: PolicyName;
  readonly ledger: Ledger;
  /** Attempts by place, each window of `fineMs`. */
  readonly fine: Fine;
  readonly churn: readonly ChurnPoint[];
  readonly worstReversals: number;
  /** When the dataplane was first seen in this mode; by mode. */
  readonly failsafeSince: (mode: 'hold' | 'fallback', afterMs: number) => number | null;
}

function spanOf(
  limit: { from?: number | undefined; to?: number | undefined },
  { duration }: Scenario,
): Span {
  return { fromMs: limit.from ?? 0, toMs: limit.to ?? duration };
}

function shareOf(evidence: Evidence, places: readonly number[], span: Span): number | null {
  const { to, all } = picks(evidence.fine, places, span);
  return all === 0 ? null : to / all;
}

/** How much is looked at together: half a second tells when a share is gone. */
const settlesLookMs = 500;
/** A share that is back is compared with a fair one, so chance must be small beside it. */
const recoversLookMs = 2_000;
/** And is granted this many standard deviations of a count (Poisson). */
const chanceSigmas = 2;

/** Milliseconds from the span's begin until the share of `places` stays as it should be. */
function staysAfter(
  { fine }: Evidence,
  places: readonly number[],
  span: Span,
  lookMs: number,
  right: (to: number, all: number) => boolean,
): number | null {
  const afterMs = span.fromMs;
  let since: number | null = null;
  for (let fromMs = afterMs; fromMs + lookMs <= span.toMs; fromMs += fineMs) {
    const { to, all } = picks(fine, places, { fromMs, toMs: fromMs + lookMs });
    if (all === 0 || right(to, all)) since ??= fromMs - afterMs;
    else since = null;
  }
  return since;
}

/** The end of the fault that is on at `atMs`, or the run's. */
function faultEnd({ faults, duration }: Scenario, atMs: number): number {
  const on = faults.filter(({ from, to }) => from <= atMs && to > atMs).map(({ to }) => to);
  return on.length === 0 ? duration : Math.min(...on, duration);
}

/** When the next fault begins after `atMs`, or the run's end. */
function nextFault({ faults, duration }: Scenario, atMs: number): number {
  return Math.min(duration, ...faults.map(({ from }) => from).filter((from) => from > atMs));
}

/** Peak share over a second, as a multiple of the fair one. */
function overshoot(
  evidence: Evidence,
  places: readonly number[],
  { fromMs, toMs }: Span,
): number | null {
  const fair = 1 / (evidence.fine[0]?.length ?? 1);
  let most: number | null = null;
  for (let at = fromMs; at + 1000 <= toMs; at += fineMs) {
    for (const place of places) {
      const share = shareOf(evidence, [place], { fromMs: at, toMs: at + 1000 });
      if (share !== null) most = Math.max(most ?? 0, share / fair);
    }
  }
  return most;
}

function percentileOf(
  measure: 'p50' | 'p99' | 'p999',
  ledger: Ledger,
  { fromMs, toMs }: Span,
  group: number | undefined,
) {
  const traffic = ledger.traffic(fromMs, toMs, group);
  return { p50: traffic.p50Ms, p99: traffic.p99Ms, p999: traffic.p999Ms }[measure];
}

/** The number of the group that a limit looks at; undefined for all. */
function groupOf(limit: Limit, { clients }: Scenario): number | undefined {
  if (!('clients' in limit) || limit.clients === undefined) return undefined;
  return clients.findIndex(({ name }) => name === limit.clients);
}

/** The figure that a limit is about; null when there is nothing to measure it by. */
function measured(limit: Limit, evidence: Evidence): number | null {
  const { scenario, ledger } = evidence;
  const places = 'backends' in limit ? (backendsNamed(scenario, limit.backends) ?? []) : [];
  const group = groupOf(limit, scenario);
  switch (limit.measure) {
    case 'success': {
      const { fromMs, toMs } = spanOf(limit, scenario);
      const { of, count } = ledger.answeredWithin(fromMs, toMs, limit.within ?? Infinity, group);
      return of === 0 ? null : count / of;
    }
    case 'errors': {
      const { fromMs, toMs } = spanOf(limit, scenario);
      const { of, count } = ledger.answeredWithin(fromMs, toMs, Infinity, group);
      return of === 0 ? null : (of - count) / of;
    }
    case 'lost': {
      const { fromMs, toMs } = spanOf(limit, scenario);
      const { of, count } = ledger.answeredWithin(fromMs, toMs, Infinity, group);
      return of - count;
    }
    case 'p50':
    case 'p99':
    case 'p999':
      return percentileOf(limit.measure, ledger, spanOf(limit, scenario), group);
    case 'refusedGood': {
      const { fromMs, toMs } = spanOf(limit, scenario);
      return ledger.refused(fromMs, toMs, group);
    }
    case 'fairShare':
      return worstShare(evidence.fine, {
        places,
        among: backendsNamed(scenario, limit.among ?? limit.backends) ?? [],
        span: spanOf(limit, scenario),
        windowMs: limit.window,
        atLeast: limit.atLeast,
        atMost: limit.atMost,
      });
    case 'share':
      return shareOf(evidence, places, spanOf(limit, scenario));
    case 'settles':
      return staysAfter(
        evidence,
        places,
        { fromMs: limit.after, toMs: faultEnd(scenario, limit.after) },
        settlesLookMs,
        (to, all) => to < limit.at * all,
      );
    case 'recovers': {
      const fair = places.length / scenarioPlaces(scenario);
      return staysAfter(
        evidence,
        places,
        { fromMs: limit.after, toMs: nextFault(scenario, limit.after) },
        recoversLookMs,
        (to, all) => to + chanceSigmas * Math.sqrt(to) >= limit.at * fair * all,
      );
    }
    case 'overshoot':
      return overshoot(evidence, places, spanOf(limit, scenario));
    case 'goodput': {
      const { fromMs, toMs } = spanOf(limit, scenario);
      const before = ledger.goodput(limit.beside.from, limit.beside.to);
      const perMs = before / (limit.beside.to - limit.beside.from);
      return perMs === 0 ? null : ledger.goodput(fromMs, toMs) / (toMs - fromMs) / perMs;
    }
    case 'reversals':
      return (evidence.worstReversals * 60_000) / scenario.duration;
    case 'churn': {
      const { fromMs, toMs } = spanOf(limit, scenario);
      const points = evidence.churn.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
      return points.length === 0
        ? null
        : points.reduce((sum, { moved }) => sum + moved, 0) / points.length;
    }
    case 'hold':
    case 'fallback': {
      const since = evidence.failsafeSince(limit.measure, limit.after);
      return since === null ? null : since - limit.after;
    }
  }
}

function scenarioPlaces({ backends }: Scenario): number {
  return backends.reduce((sum, { count }) => sum + count, 0);
}

const seconds = (ms: number) => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);

/** The limit in words, with its unit. */
function nameOf(limit: Limit): string {
  const where = 'backends' in limit ? ` of ${[limit.backends].flat().join(', ')}` : '';
  const from = 'from' in limit && limit.from !== undefined ? ` from ${seconds(limit.from)}` : '';
  const to = 'to' in limit && limit.to !== undefined ? ` to ${seconds(limit.to)}` : '';
  const who = 'clients' in limit && limit.clients !== undefined ? ` by ${limit.clients}` : '';
  const stretch = `${where}${who}${from}${to}`;
  switch (limit.measure) {
    case 'success':
      return `success${limit.within === undefined ? '' : ` within ${seconds(limit.within)}`}${stretch}`;
    case 'p50':
    case 'p99':
    case 'p999': {
      const beside =
        typeof limit.atMost === 'number'
          ? ''
          : ` beside ${limit.atMost.policy} × ${limit.atMost.times}`;
      return `${limit.measure}${stretch}${beside} (ms)`;
    }
    case 'settles':
      return `share${where} stays below ${limit.at * 100} % after ${seconds(limit.after)} (ms)`;
    case 'recovers':
      return `share${where} stays above ${limit.at * 100} % of fair after ${seconds(limit.after)} (ms)`;
    case 'goodput':
      return `goodput${stretch} beside ${seconds(limit.beside.from)} to ${seconds(limit.beside.to)}`;
    case 'reversals':
      return 'reversals a minute of the worst backend';
    case 'churn':
      return `slots changed a tick${stretch}`;
    case 'hold':
    case 'fallback':
      return `${limit.measure} after ${seconds(limit.after)} (ms)`;
    case 'lost':
      return `requests lost${stretch}`;
    case 'refusedGood':
      return `good connects refused${stretch}`;
    case 'fairShare':
      return `share × fair${stretch} in each ${seconds(limit.window)}`;
    case 'errors':
    case 'share':
    case 'overshoot':
      return `${limit.measure}${stretch}`;
  }
}

/** A limit that waits for another policy's run. */
export interface Measured {
  readonly outcome: LimitOutcome;
  /** The bound is so many times the other's figure. */
  readonly beside: { readonly policy: PolicyName; readonly times: number } | null;
}

export function measureLimits(evidence: Evidence): Measured[] {
  return evidence.scenario.limits.map((limit): Measured => {
    const value = measured(limit, evidence);
    const binding = limit.policies.includes(evidence.policy);
    const atLeast = 'atLeast' in limit ? (limit.atLeast ?? null) : null;
    const most = 'atMost' in limit ? (limit.atMost ?? null) : null;
    const beside = typeof most === 'object' ? most : null;
    const atMost = typeof most === 'number' ? most : null;
    return {
      outcome: judge({ name: nameOf(limit), value, atLeast, atMost, binding, pass: true }),
      beside,
    };
  });
}

/** Nothing measured is no success: a limit that could not be judged is missed. */
function judge(outcome: LimitOutcome): LimitOutcome {
  const { value, atLeast, atMost } = outcome;
  const pass =
    value !== null &&
    (atLeast === null || value >= atLeast) &&
    (atMost === null || value <= atMost);
  return { ...outcome, pass };
}

/** The outcomes, with the figures of the other policies' runs of the same seed. */
export function settle(
  measures: readonly Measured[],
  others: ReadonlyMap<PolicyName, readonly Measured[]>,
): LimitOutcome[] {
  return measures.map(({ outcome, beside }, i) => {
    if (beside === null) return outcome;
    const other = others.get(beside.policy)?.[i]?.outcome.value ?? null;
    return judge({ ...outcome, atMost: other === null ? null : other * beside.times });
  });
}
