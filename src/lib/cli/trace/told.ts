// A decision as it is told: with the time of day and the names of where its process is, in
// words; and which decisions an operator asked for.
import type { CgroupName } from '../../dataplane/cgroup-names.js';
import { family } from '../../audit/catalogue.js';
import type { CounterName } from '../../dataplane/counters.js';
import type { Decision } from '../../dataplane/tracer.js';

export interface ToldDecision extends Omit<Decision, 'timeNs' | 'cgroup' | 'outcome'> {
  readonly kind: 'decision';
  readonly schemaVersion: 1;
  /** ISO 8601. */
  readonly time: string;
  /** Below the root of the hierarchy; null where it is not known. */
  readonly cgroup: string | null;
  /** UID of the pod; null where it is not known. */
  readonly pod: string | null;
  /** "picked" or "refused", and how or why: "twin", "no_backends". */
  readonly decision: 'picked' | 'refused';
  readonly outcome: string;
}

/** The outcomes of a decision, by their counters: "twin" of pickedTwin. */
const words = new Map<CounterName, { decision: ToldDecision['decision']; outcome: string }>(
  (['picked', 'refused'] as const).flatMap((decision) =>
    family(decision).map(({ name, value }) => [name, { decision, outcome: value }] as const),
  ),
);

export const outcomeWords: readonly string[] = [
  'picked',
  'refused',
  ...[...words.values()].map(({ outcome }) => outcome),
];

export function told(
  decision: Decision,
  wallMs: (timeNs: bigint) => number,
  where: CgroupName | null,
): ToldDecision {
  const { timeNs, pid, command, route, address, slot, backend, costNs, epoch } = decision;
  const { failsafeMode, admissionMode } = decision;
  const word = words.get(decision.outcome) ?? { decision: 'refused', outcome: decision.outcome };
  return {
    kind: 'decision',
    schemaVersion: 1,
    time: new Date(wallMs(timeNs)).toISOString(),
    pid,
    command,
    cgroup: where?.path ?? null,
    pod: where?.pod ?? null,
    ...{ route, address, slot, backend, ...word, costNs, epoch, failsafeMode, admissionMode },
  };
}

/** What was asked for; undefined is anything. */
export interface Wanted {
  readonly routes: ReadonlySet<string> | undefined;
  readonly backend: string | undefined;
  readonly outcome: string | undefined;
  readonly pid: number | undefined;
}

export function isWanted(one: ToldDecision, { routes, backend, outcome, pid }: Wanted): boolean {
  return (
    (routes === undefined || routes.has(one.route)) &&
    (backend === undefined || one.backend === backend) &&
    (outcome === undefined || one.outcome === outcome || one.decision === outcome) &&
    (pid === undefined || one.pid === pid)
  );
}
