// One scenario over policies and seeds: the runs, with every limit judged beside the
// policies that it compares with.
import { policyNames, type PolicyName } from './balancer.js';
import { settle } from './limits.js';
import type { Comparison, RunResult } from './result.js';
import { simulate, type RunOptions } from './run.js';
import type { Scenario } from './scenario.js';

export interface CompareOptions {
  readonly scenario: Scenario;
  readonly policies: readonly PolicyName[];
  readonly seeds: readonly number[];
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly policy: PolicyName;
  readonly seed: number;
  /** Of everything that is to be run. */
  readonly done: number;
}

/** The policies that a limit of the scenario compares with. */
function comparedWith({ limits }: Scenario): PolicyName[] {
  const named = limits.flatMap((limit) =>
    'atMost' in limit && typeof limit.atMost === 'object' ? [limit.atMost.policy] : [],
  );
  return policyNames.filter((name) => named.includes(name));
}

/** All runs of one seed. Policies that only serve to compare with are among them. */
export function runSeed(
  scenario: Scenario,
  policies: readonly PolicyName[],
  seed: number,
  options: (policy: PolicyName) => Partial<RunOptions> = () => ({}),
): RunResult[] {
  const all = policyNames.filter(
    (name) => policies.includes(name) || comparedWith(scenario).includes(name),
  );
  const runs = new Map(
    all.map((policy) => [policy, simulate({ scenario, policy, seed, ...options(policy) })]),
  );
  const measures = new Map([...runs].map(([policy, run]) => [policy, run.measures]));
  return [...runs.values()].map(({ result, measures: own }): RunResult => {
    const limits = settle(own, measures);
    const held = result.invariants.every(({ pass }) => pass);
    const kept = limits.every(({ binding, pass }) => pass || !binding);
    return { ...result, limits, pass: held && kept };
  });
}

export function compare({ scenario, policies, seeds, onProgress }: CompareOptions): Comparison {
  const perSeed = new Set([...policies, ...comparedWith(scenario)]).size;
  const total = perSeed * seeds.length * scenario.duration;
  let before = 0;
  const runs = seeds.flatMap((seed) =>
    runSeed(scenario, policies, seed, (policy) => ({
      onProgress: (nowMs) => {
        onProgress?.({ policy, seed, done: (before + nowMs) / total });
        if (nowMs >= scenario.duration) before += scenario.duration;
      },
    })),
  );
  const { name, title, about } = scenario;
  return { scenario: name, title, about, runs };
}

/** What a run broke, in words that stay the same from run to run. */
export function failuresOf({ limits, invariants }: RunResult): string[] {
  return [
    ...limits.filter(({ binding, pass }) => binding && !pass).map(({ name }) => `limit: ${name}`),
    ...invariants.filter(({ pass }) => !pass).map(({ name }) => `invariant: ${name}`),
  ];
}
