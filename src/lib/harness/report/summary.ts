// Many runs in few figures: the median over the seeds, and how far they lie apart.
import { median } from '../../field/arithmetic.js';
import type { PolicyName } from '../balancer.js';
import type { Verdict } from '../invariant.js';
import type { Comparison, LimitOutcome, RunResult } from '../result.js';

/** Over the seeds; null where no run had one. */
export interface Spread {
  readonly median: number | null;
  readonly least: number | null;
  readonly most: number | null;
}

export interface PolicySummary {
  readonly policy: PolicyName;
  readonly seeds: number;
  readonly success: Spread;
  readonly p50Ms: Spread;
  readonly p99Ms: Spread;
  readonly p999Ms: Spread;
  readonly refused: Spread;
  readonly failed: Spread;
  readonly timedOut: Spread;
  readonly turnedAway: Spread;
  readonly connectsPerSecond: Spread;
  readonly pass: boolean;
}

export interface LimitSummary {
  readonly name: string;
  readonly value: Spread;
  readonly worst: LimitOutcome;
  /** Seeds that missed it. */
  readonly missed: readonly number[];
}

function spread(values: readonly (number | null)[]): Spread {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return { median: null, least: null, most: null };
  return { median: median(known), least: Math.min(...known), most: Math.max(...known) };
}

function summaryOf(policy: PolicyName, runs: readonly RunResult[]): PolicySummary {
  const of = (pick: (run: RunResult) => number | null) => spread(runs.map(pick));
  const share = ({ total }: RunResult) =>
    total.requests === 0 ? null : total.ends.answered / total.requests;
  return {
    policy,
    seeds: runs.length,
    success: of(share),
    p50Ms: of(({ total }) => total.p50Ms),
    p99Ms: of(({ total }) => total.p99Ms),
    p999Ms: of(({ total }) => total.p999Ms),
    refused: of(({ total }) => total.ends.refused),
    failed: of(({ total }) => total.ends.failed),
    timedOut: of(({ total }) => total.ends.timedOut),
    turnedAway: of(({ total }) => total.ends.turnedAway),
    connectsPerSecond: of(({ connects, wallMs }) => (connects * 1000) / wallMs),
    pass: runs.every(({ pass }) => pass),
  };
}

export function summaries({ runs }: Comparison): PolicySummary[] {
  const policies = [...new Set(runs.map(({ policy }) => policy))];
  return policies.map((policy) =>
    summaryOf(
      policy,
      runs.filter((run) => run.policy === policy),
    ),
  );
}

/** How far a value is on the wrong side, in parts of its bound. */
function badness({ value, atLeast, atMost }: LimitOutcome): number {
  if (value === null) return Infinity;
  if (atLeast !== null) return (atLeast - value) / (Math.abs(atLeast) || 1);
  return atMost === null ? -Infinity : (value - atMost) / (Math.abs(atMost) || 1);
}

/** What a policy reached of a limit that others are held to, or that it is. */
export function reached({ runs }: Comparison, policy: PolicyName, name: string): Spread {
  const own = runs.filter((run) => run.policy === policy);
  return spread(
    own.map(({ limits }) => limits.find((limit) => limit.name === name)?.value ?? null),
  );
}

/** The limits that bind `policy`, each over all seeds. */
export function limitSummaries({ runs }: Comparison, policy: PolicyName): LimitSummary[] {
  const own = runs.filter((run) => run.policy === policy);
  const names = own[0]?.limits.filter(({ binding }) => binding).map(({ name }) => name) ?? [];
  return names.flatMap((name): LimitSummary[] => {
    const outcomes = own.flatMap(({ seed, limits }) => {
      const outcome = limits.find((limit) => limit.name === name);
      return outcome === undefined ? [] : [{ seed, outcome }];
    });
    const [first, ...rest] = outcomes.map(({ outcome }) => outcome);
    if (first === undefined) return [];
    return [
      {
        name,
        value: spread(outcomes.map(({ outcome }) => outcome.value)),
        worst: rest.reduce((a, b) => (badness(b) > badness(a) ? b : a), first),
        missed: outcomes.filter(({ outcome }) => !outcome.pass).map(({ seed }) => seed),
      },
    ];
  });
}

export interface InvariantSummary {
  readonly name: string;
  readonly pass: boolean;
  readonly checks: number;
  /** Of the seed where it was nearest to its limit, or beyond. */
  readonly worst: number | null;
  readonly limit: number;
  readonly at: Verdict['at'];
  readonly first: Verdict['first'];
  readonly brokenIn: readonly number[];
}

export function invariantSummaries({ runs }: Comparison): InvariantSummary[] {
  const all = runs.flatMap(({ seed, invariants }) =>
    invariants.map((verdict) => ({ seed, verdict })),
  );
  const names = [...new Set(all.map(({ verdict }) => verdict.name))];
  return names.flatMap((name): InvariantSummary[] => {
    const own = all.filter(({ verdict }) => verdict.name === name);
    const excess = ({ worst, limit }: Verdict) => (worst ?? -Infinity) - limit;
    const worst = own
      .map(({ verdict }) => verdict)
      .reduce((a, b) => (excess(b) > excess(a) ? b : a));
    return [
      {
        name,
        pass: own.every(({ verdict }) => verdict.pass),
        checks: own.reduce((sum, { verdict }) => sum + verdict.checks, 0),
        worst: worst.worst,
        limit: worst.limit,
        at: worst.at,
        first: own.find(({ verdict }) => verdict.first !== null)?.verdict.first ?? null,
        brokenIn: own.filter(({ verdict }) => !verdict.pass).map(({ seed }) => seed),
      },
    ];
  });
}
