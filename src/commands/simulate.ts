import { Args, Flags } from '@oclif/core';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { common, jsonFlag, NityCommand, type Answer } from '../lib/cli/command.js';
import { renderComparison, SimulateProgress } from '../lib/cli/simulate-view.js';
import { writing } from '../lib/cli/writing.js';
import { UsageError } from '../lib/errors.js';
import { policyNames, type PolicyName } from '../lib/harness/balancer.js';
import { compare } from '../lib/harness/compare.js';
import { csvOf } from '../lib/harness/report/csv.js';
import { reportOf } from '../lib/harness/report/markdown.js';
import {
  invariantSummaries,
  limitSummaries,
  summaries,
  type InvariantSummary,
  type LimitSummary,
  type PolicySummary,
} from '../lib/harness/report/summary.js';
import type { Comparison, RunResult } from '../lib/harness/result.js';
import { saveTrace } from '../lib/harness/save-trace.js';
import { readScenario } from '../lib/harness/read-scenario.js';
import type { Scenario } from '../lib/harness/scenario.js';
import { shrink } from '../lib/harness/shrink.js';

interface Simulation extends Answer {
  readonly scenario: string;
  readonly seed: number;
  readonly seeds: readonly number[];
  readonly pass: boolean;
  readonly invariants: readonly InvariantSummary[];
  readonly limits: readonly LimitSummary[];
  readonly summary: Readonly<Record<string, PolicySummary>>;
  /** Without their series, which --csv has. */
  readonly runs: readonly (Omit<RunResult, 'series'> & { readonly series: undefined })[];
}

const seedsMost = 1000;

export default class Simulate extends NityCommand<typeof Simulate> {
  static override summary = 'Run a scenario in the simulated world, beside other policies.';
  static override description =
    'The real agent and the real dataplane over plain memory, among simulated clients and ' +
    'backends: the same seed gives the same run. Checks the invariants on every tick and the ' +
    'limits that the scenario sets. Exit 1 if a limit is missed or an invariant broken; the ' +
    'trace of that run is written down, and `nity replay` opens it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> test/scenarios/slow-replica.yaml',
    '<%= config.bin %> <%= command.id %> test/scenarios/ramp.yaml --policy all --seeds 5',
    '<%= config.bin %> <%= command.id %> test/scenarios/sinkhole.yaml --report out --csv out/series.csv',
    '<%= config.bin %> <%= command.id %> broken.yaml --seed 7 --shrink smaller.yaml',
  ];
  static override args = {
    scenario: Args.string({ required: true, description: 'a scenario, in YAML' }),
  };
  static override flags = {
    color: common.color,
    ...jsonFlag,
    'no-headers': Flags.boolean({ summary: 'leave out the heads of the tables' }),
    output: Flags.option({ char: 'o', options: ['wide'] as const, summary: 'show more columns' })(),
    seed: Flags.integer({ summary: 'of the first run', default: 1, min: 0 }),
    seeds: Flags.integer({
      summary: 'how many runs, with one seed after the other',
      default: 1,
      min: 1,
      max: seedsMost,
    }),
    policy: Flags.string({
      summary: `who is run, by commas: ${policyNames.join(', ')}, or all`,
      default: 'nity',
    }),
    csv: Flags.string({ summary: 'write the series of every run to this file' }),
    report: Flags.string({ summary: 'write a report with plots into this directory' }),
    trace: Flags.string({
      summary: 'write the trace of our run here; by default only of one that failed',
    }),
    shrink: Flags.string({
      summary: 'look for the smallest scenario that fails as this one does, and write it here',
    }),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags, args } = this;
    const policies = this.policies();
    const { text, scenario } = readScenario(args.scenario);
    const seeds = Array.from({ length: flags.seeds }, (_, i) => flags.seed + i);
    const progress = new SimulateProgress(scenario.name);
    let comparison: Comparison;
    try {
      comparison = compare({
        scenario,
        policies,
        seeds,
        onProgress: (now) => {
          progress.show(now);
        },
      });
    } finally {
      progress.done();
    }
    this.writeFiles(comparison);
    this.answer<Simulation>(documentOf(comparison, seeds), () =>
      renderComparison(comparison, {
        headers: !flags['no-headers'],
        wide: flags.output === 'wide',
      }),
    );
    const failed = comparison.runs.find(({ policy, pass }) => policy === 'nity' && !pass);
    const traced = flags.trace !== undefined && policies.includes('nity');
    if (failed !== undefined || traced) {
      this.keepTrace(scenario, failed?.seed ?? flags.seed, failed === undefined);
    }
    if (flags.shrink !== undefined) this.shrink(text, flags.shrink, failed);
    process.exitCode = comparison.runs.every(({ pass }) => pass) ? 0 : 1;
  }

  private policies(): PolicyName[] {
    const { policy } = this.flags;
    if (policy === 'all') return [...policyNames];
    const known = new Map<string, PolicyName>(policyNames.map((name) => [name, name]));
    return policy.split(',').map((name) => {
      const found = known.get(name.trim());
      if (found !== undefined) return found;
      throw new UsageError(
        `There is no policy ${name.trim() || '""'}.`,
        `Name some of ${policyNames.join(', ')}, by commas, or all.`,
      );
    });
  }

  private writeFiles(comparison: Comparison): void {
    const { csv, report } = this.flags;
    if (csv !== undefined) {
      writing(csv, () => {
        mkdirSync(dirname(csv), { recursive: true });
        writeFileSync(csv, csvOf(comparison));
      });
    }
    if (report === undefined) return;
    const again = `nity simulate ${this.argv.join(' ')}`;
    writing(report, () => {
      mkdirSync(report, { recursive: true });
      for (const [name, text] of reportOf(comparison, again)) {
        writeFileSync(join(report, name), text);
      }
    });
    this.say(`The report is ${join(report, 'report.md')}.`);
  }

  private keepTrace(scenario: Scenario, seed: number, passed: boolean): void {
    const path = this.flags.trace ?? `${scenario.name}-seed-${seed}.trace`;
    writing(path, () => {
      const files = saveTrace(scenario, seed, path);
      const what = passed ? 'run' : 'run that failed';
      this.say(`The ${what} is in ${files.join(', ')}: open it with \`nity replay\`.`);
    });
  }

  private shrink(text: string, path: string, failed: RunResult | undefined): void {
    if (failed === undefined) {
      this.say('Nothing failed, so there is nothing to shrink.');
      return;
    }
    const shrunk = shrink(text, `${failed.scenario}.yaml`, failed.seed, (tries, held) => {
      if (tries % 10 === 0) this.say(`shrinking: ${tries} tries, ${held} reductions`);
    });
    if (shrunk === undefined) return;
    const head = `# ${shrunk.failure}; nity simulate --seed ${failed.seed}\n`;
    writing(path, () => {
      writeFileSync(path, head + shrunk.text);
    });
    this.say(
      `${path} is smaller by ${shrunk.reductions} reductions, and still breaks ${shrunk.failure}.`,
    );
  }
}

function documentOf(comparison: Comparison, seeds: readonly number[]): Simulation {
  const { scenario, runs } = comparison;
  return {
    schemaVersion: 1,
    scenario,
    seed: seeds[0] ?? 1,
    seeds,
    pass: runs.every(({ pass }) => pass),
    invariants: invariantSummaries(comparison),
    limits: limitSummaries(comparison, 'nity'),
    summary: Object.fromEntries(summaries(comparison).map((row) => [row.policy, row])),
    runs: runs.map((run) => ({ ...run, series: undefined })),
  };
}
