// All the checks, and what they come to.
import { apply, type Check, type Rule, type Status } from './check.js';
import type { Observed } from './observed.js';
import { agentRules } from './rules/agent.js';
import { clusterRules } from './rules/cluster.js';
import { conflictRules } from './rules/conflicts.js';
import { fieldRules } from './rules/field.js';
import { kernelRules } from './rules/kernel.js';
import { mountRules } from './rules/mounts.js';
import { privilegeRules } from './rules/privilege.js';
import { programRules } from './rules/programs.js';
import { schemaRules } from './rules/schema.js';
import { sensorRules } from './rules/sensors.js';

/** In the order in which they are told: what is wrong above may be the cause of what is below. */
export const rules: readonly Rule[] = [
  ...privilegeRules,
  ...kernelRules,
  ...mountRules,
  ...programRules,
  ...schemaRules,
  ...agentRules,
  ...fieldRules,
  ...sensorRules,
  ...conflictRules,
  ...clusterRules,
];

export function examine(observed: Observed): Check[] {
  return rules.flatMap((rule) => apply(rule, observed));
}

export interface Verdict {
  readonly ok: boolean;
  /** 3: a privilege or a feature of the kernel is missing, so that no more can be said. */
  readonly exitCode: 0 | 1 | 3;
  readonly counts: Readonly<Record<Status, number>>;
}

export function judge(checks: readonly Check[], failOn: 'warn' | 'fail'): Verdict {
  const counts = { ok: 0, warn: 0, fail: 0 };
  for (const { status } of checks) counts[status]++;
  const wrong = checks.filter(
    ({ status }) => status === 'fail' || (failOn === 'warn' && status === 'warn'),
  );
  // Only what fails keeps anything from running; a warning of the kernel's is a thing found.
  const barred = wrong.some(
    ({ group, status }) => status === 'fail' && (group === 'privilege' || group === 'kernel'),
  );
  return { ok: wrong.length === 0, exitCode: wrong.length === 0 ? 0 : barred ? 3 : 1, counts };
}
