import { Flags } from '@oclif/core';
import { setTimeout as sleep } from 'node:timers/promises';

import { logAction } from '../lib/audit/operator-log.js';
import {
  cgroupFlag,
  changeFlags,
  common,
  NityCommand,
  tableFlags,
  type Answer,
} from '../lib/cli/command.js';
import { renderChecks } from '../lib/cli/doctor-view.js';
import { parseDuration } from '../lib/cli/duration.js';
import type { Check } from '../lib/doctor/check.js';
import { examine, judge, rules, type Verdict } from '../lib/doctor/doctor.js';
import { fix, type Fixed } from '../lib/doctor/fix.js';
import { probe } from '../lib/doctor/probe.js';
import { UsageError } from '../lib/errors.js';
import { openApi } from '../lib/kubernetes/ask.js';

interface Doctor extends Answer {
  readonly ok: boolean;
  readonly counts: Verdict['counts'];
  readonly fixed: readonly Fixed[];
  readonly checks: readonly Check[];
}

const againMs = 1000;

export default class DoctorCommand extends NityCommand<typeof DoctorCommand> {
  static override summary = 'What is wrong on this node, and what to do about it.';
  static override description =
    'Looks at privileges, kernel, mounts, programs, maps, agent, field, sensors, at who else ' +
    'is at the hooks and at the cluster, and changes nothing, but with --fix. Exit code 0: nothing is wrong; 1: ' +
    'something is; 3: a privilege or a feature of the kernel is missing.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --wait 30s --fail-on warn',
    '<%= config.bin %> <%= command.id %> --suppress NITY024 --json',
  ];
  static override flags = {
    ...common,
    ...cgroupFlag,
    json: tableFlags.json,
    'no-headers': tableFlags['no-headers'],
    suppress: Flags.string({
      summary: 'leave out a check, by its identifier',
      multiple: true,
      default: [],
    }),
    'fail-on': Flags.option({
      options: ['warn', 'fail'] as const,
      default: 'fail' as const,
      summary: 'least that counts as wrong',
    })(),
    wait: Flags.string({ summary: 'look again each second for so long until nothing is wrong' }),
    fix: Flags.boolean({ summary: 'mend what can be mended without harm, and look again' }),
    'audit-log': changeFlags['audit-log'],
    kubeconfig: Flags.string({
      summary: 'look at this cluster too; by default at that of KUBECONFIG, or of this pod',
      env: 'NITY_KUBECONFIG',
      helpGroup: 'CLUSTER',
    }),
    context: Flags.string({
      summary: 'the context of the kubeconfig',
      env: 'NITY_CONTEXT',
      helpGroup: 'CLUSTER',
    }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    requireKnown(flags.suppress);
    const waitMs = flags.wait === undefined ? 0 : parseDuration(flags.wait, '--wait');
    const deadline = performance.now() + waitMs;
    const fixed: Fixed[] = [];
    let looked = await this.look();
    if (flags.fix) {
      fixed.push(...fix(looked.checks, looked.observed));
      for (const { did } of fixed) this.say(`Fixed: ${did}.`);
      if (fixed.length > 0) {
        this.writeDown(fixed);
        looked = await this.look();
      }
    }
    while (!looked.verdict.ok && performance.now() < deadline) {
      await sleep(againMs);
      looked = await this.look();
    }
    const { checks, verdict } = looked;
    this.answer<Doctor>(
      { schemaVersion: 1, ok: verdict.ok, counts: verdict.counts, fixed, checks },
      () => renderChecks(checks, verdict, { headers: !flags['no-headers'], width: width() }),
    );
    process.exitCode = verdict.exitCode;
  }

  private async look() {
    const { flags } = this;
    const api = await openApi({ kubeconfig: flags.kubeconfig, context: flags.context });
    const observed = await probe({
      pinPath: flags['pin-path'],
      version: this.config.version,
      ...(flags.cgroup === undefined ? {} : { cgroup: flags.cgroup }),
      ...(api === null ? {} : { api }),
    });
    const suppressed = new Set<string>(flags.suppress);
    const checks = examine(observed).filter(({ id }) => !suppressed.has(id));
    return { observed, checks, verdict: judge(checks, flags['fail-on']) };
  }

  private writeDown(fixed: readonly Fixed[]): void {
    const { flags } = this;
    const problem = logAction(flags['audit-log'], {
      command: 'doctor --fix',
      pinPath: flags['pin-path'],
      reason: undefined,
      before: null,
      after: fixed,
    });
    if (problem !== undefined) this.say(problem);
  }
}

/** A slip of a digit would suppress nothing, and say nothing. */
function requireKnown(suppressed: readonly string[]): void {
  const unknown = suppressed.find((id) => !rules.some((rule) => rule.id === id));
  if (unknown === undefined) return;
  throw new UsageError(
    `${unknown} is no identifier of a check.`,
    `Take one from the list, as ${rules[0]?.id ?? 'NITY010'}.`,
  );
}

function width(): number | null {
  return process.stdout.isTTY ? Math.min(process.stdout.columns, 120) : null;
}
