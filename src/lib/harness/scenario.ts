// A scenario: the world that a simulation runs, what goes wrong in it, and what is
// demanded. This file owns the schema; docs/guide/scenarios.md explains it.
import { z } from 'zod';

import { knobProblem, makeKnobs, isKnob, type Knobs } from '../config/knobs.js';
import { InputError } from '../errors.js';
import { readYaml, type Path, type Places, type Problem } from '../yaml-input.js';
import { policyNames } from './balancer.js';
import { clientsSchema, mostRate } from './clients.js';
import { distributionSchema, duration, part, share, whole } from './quantities.js';

const mostBackends = 20_000;
const mostRequests = 50_000_000;

const groupSchema = z
  .object({
    name: z.string().regex(/^[a-z][-a-z0-9]*$/, 'expected a name in lower case'),
    count: whole.min(1).max(mostBackends),
    /** Requests that it works on at a time; the rest wait in line. */
    concurrency: whole.min(1).max(100_000).optional(),
    /** Requests that may wait; past it, connects are refused. */
    queue: whole.min(0).max(10_000_000).optional(),
    service: distributionSchema,
    /** There and back. */
    path: duration.default(0),
  })
  .strict();

/** Backends by the name of their group, by number within their service, or "all". */
const whom = z.union(
  [z.string(), z.array(whole.min(0)).min(1)],
  'expected the name of a group, all, or a list of numbers',
);
const window = { from: duration, to: duration };

const faultSchema = z.discriminatedUnion(
  'kind',
  [
    z
      .object({
        kind: z.literal('slow'),
        backends: whom,
        ...window,
        factor: z.number().gt(0).max(1e6).optional(),
        service: distributionSchema.optional(),
        /** So many of them at a time, others each time. */
        rotate: z
          .object({ count: whole.min(1), every: duration })
          .strict()
          .optional(),
      })
      .strict(),
    z
      .object({ kind: z.literal('refuse'), backends: whom, ...window, share: part.default(1) })
      .strict(),
    z
      .object({ kind: z.literal('fail'), backends: whom, ...window, share: part.default(1) })
      .strict(),
    z.object({ kind: z.literal('hang'), backends: whom, ...window }).strict(),
    z
      .object({
        kind: z.literal('errors'),
        backends: whom,
        ...window,
        share: part.default(1),
        /** How long an error takes. */
        service: distributionSchema.default({ kind: 'constant', ms: 0 }),
      })
      .strict(),
    z
      .object({
        kind: z.literal('down'),
        backends: whom,
        ...window,
        /** `refuse`: the process is gone. `vanish`: the host is, and nothing comes back from it. */
        does: z.enum(['refuse', 'vanish'], 'expected refuse or vanish').default('refuse'),
      })
      .strict(),
    z
      .object({
        kind: z.literal('shared-slow'),
        ...window,
        /** What each answer waits for what all backends share; it takes none of their capacity. */
        adds: distributionSchema,
      })
      .strict(),
    z.object({ kind: z.literal('load'), ...window, factor: z.number().min(0).max(1000) }).strict(),
    z
      .object({
        kind: z.literal('replace'),
        backends: whom,
        ...window,
        every: duration,
        /** From its end until its clients hear of it. */
        lag: duration.default(0),
        /** How much slower a new one is, and for how long. */
        cold: z
          .object({ factor: z.number().min(1), for: duration })
          .strict()
          .optional(),
      })
      .strict(),
    z
      .object({
        kind: z.literal('agent'),
        nodes: z.union([z.literal('all'), z.array(whole.min(0)).min(1)]).default('all'),
        does: z.enum(['die', 'stop'], 'expected die or stop'),
        ...window,
      })
      .strict(),
  ],
  'expected a fault of kind slow, refuse, fail, hang, errors, down, shared-slow, load, replace or agent',
);
export type Fault = z.infer<typeof faultSchema>;
export type FaultOf<K extends Fault['kind']> = Extract<Fault, { kind: K }>;

const policy = z.enum(policyNames, `expected one of ${policyNames.join(', ')}`);
const span = { from: duration.optional(), to: duration.optional() };
/** Whom a limit binds; without it, ours alone. */
const bound = { policies: z.array(policy).min(1).default(['nity']) };
const atMost = { atMost: share };
/** The group of clients that a limit looks at; without it, all. */
const whose = { clients: z.string().optional() };

const limitSchema = z.discriminatedUnion(
  'measure',
  [
    z
      .object({
        measure: z.literal('success'),
        within: duration.optional(),
        ...whose,
        ...span,
        ...bound,
        atLeast: part,
      })
      .strict(),
    z.object({ measure: z.literal('errors'), ...whose, ...span, ...bound, ...atMost }).strict(),
    z
      .object({
        measure: z.enum(['p50', 'p99', 'p999']),
        ...whose,
        ...span,
        ...bound,
        atMost: z.union([
          duration,
          z.object({ policy, times: z.number().gt(0).default(1) }).strict(),
        ]),
      })
      .strict(),
    z
      .object({ measure: z.literal('share'), backends: whom, ...span, ...bound, ...atMost })
      .strict(),
    z
      .object({
        measure: z.enum(['lost', 'refusedGood']),
        ...whose,
        ...span,
        ...bound,
        atMost: whole.min(0),
      })
      .strict(),
    z
      .object({
        measure: z.literal('fairShare'),
        backends: whom.default('all'),
        /** Whose picks make up the whole; without it, those of `backends`. */
        among: whom.optional(),
        /** How much is looked at together. */
        window: duration.default(15_000),
        ...span,
        ...bound,
        atLeast: z.number().min(0).optional(),
        atMost: z.number().min(0).optional(),
      })
      .strict(),
    z
      .object({
        measure: z.enum(['settles', 'recovers']),
        backends: whom,
        after: duration,
        ...bound,
        /** The share of requests below which, or the part of a fair share above which, it stays. */
        at: share,
        atMost: duration,
      })
      .strict(),
    z
      .object({
        measure: z.literal('overshoot'),
        backends: whom,
        ...span,
        ...bound,
        ...atMost,
      })
      .strict(),
    z
      .object({
        measure: z.literal('goodput'),
        /** Beside what was answered in this stretch. */
        beside: z.object(window).strict(),
        ...span,
        ...bound,
        atLeast: share,
      })
      .strict(),
    z.object({ measure: z.literal('reversals'), ...bound, atMost: z.number().min(0) }).strict(),
    z.object({ measure: z.literal('churn'), ...span, ...bound, ...atMost }).strict(),
    z
      .object({
        measure: z.enum(['hold', 'fallback']),
        after: duration,
        ...bound,
        atMost: duration,
      })
      .strict(),
  ],
  'expected a limit on success, errors, p50, p99, p999, share, fairShare, lost, refusedGood, settles, recovers, overshoot, goodput, reversals, churn, hold or fallback',
);
export type Limit = z.infer<typeof limitSchema>;

const scenarioSchema = z
  .object({
    title: z.string().min(1).max(200),
    about: z.string().max(4000).default(''),
    duration: duration.refine((ms) => ms >= 1000, 'expected at least 1s'),
    window: duration.default(1000),
    nodes: whole.min(1).max(64).default(1),
    services: whole.min(1).max(10_000).default(1),
    backends: z.array(groupSchema).min(1),
    clients: clientsSchema,
    knobs: z.record(z.string(), z.number('expected a number')).default({}),
    faults: z.array(faultSchema).default([]),
    phases: z.record(z.string(), z.object(window).strict()).default({}),
    policies: z
      .array(policy)
      .min(1)
      .default([...policyNames]),
    limits: z.array(limitSchema).default([]),
  })
  .strict();
type ScenarioText = z.infer<typeof scenarioSchema>;

export interface Scenario extends Omit<ScenarioText, 'knobs'> {
  /** The file's name without its ending. */
  readonly name: string;
  readonly knobs: Knobs;
}

export type ScenarioFile =
  | { readonly ok: true; readonly scenario: Scenario }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** The numbers within their service of those that `whom` names; undefined if it names nobody. */
export function backendsNamed(
  { backends }: Pick<ScenarioText, 'backends'>,
  named: string | readonly number[],
): number[] | undefined {
  const numbers: number[] = [];
  let next = 0;
  for (const { name, count } of backends) {
    for (let i = 0; i < count; i++, next++) {
      if (named === 'all' || named === name || (typeof named !== 'string' && named.includes(next)))
        numbers.push(next);
    }
  }
  const all = typeof named === 'string' ? numbers.length > 0 : numbers.length === named.length;
  return all ? numbers : undefined;
}

/** What the schema cannot say: names that must exist, and stretches that must be ones. */
function meaningOf(text: ScenarioText, places: Places): Problem[] {
  const problems: Problem[] = [];
  const wrong = (path: Path, message: string) => problems.push(places.problem(path, message));
  const checkWhom = (named: string | readonly number[], path: Path) => {
    if (backendsNamed(text, named) === undefined)
      wrong(
        path,
        `names a backend that there is not; the groups are ${text.backends.map(({ name }) => name).join(', ')}`,
      );
  };
  const checkSpan = (from: number | undefined, to: number | undefined, path: Path) => {
    if ((to ?? Infinity) <= (from ?? 0)) wrong(path, 'must end after it begins');
    if ((from ?? 0) >= text.duration) wrong(path, 'begins after the run has ended');
  };
  const seen = new Set<string>(['all']);
  text.backends.forEach(({ name }, i) => {
    if (seen.has(name)) wrong(['backends', i, 'name'], `${name} is taken`);
    seen.add(name);
  });
  text.faults.forEach((fault, i) => {
    checkSpan(fault.from, fault.to, ['faults', i]);
    if ('backends' in fault) checkWhom(fault.backends, ['faults', i, 'backends']);
    if (fault.kind === 'slow' && (fault.factor === undefined) === (fault.service === undefined))
      wrong(['faults', i], 'takes either a factor or a service time');
  });
  for (const [name, { from, to }] of Object.entries(text.phases))
    checkSpan(from, to, ['phases', name]);
  const groups = text.clients.map(({ name }) => name);
  groups.forEach((name, i) => {
    if (groups.indexOf(name) < i) wrong(['clients', i, 'name'], `${name} is taken`);
  });
  text.limits.forEach((limit, i) => {
    if ('backends' in limit) checkWhom(limit.backends, ['limits', i, 'backends']);
    if ('from' in limit) checkSpan(limit.from, limit.to, ['limits', i]);
    if ('clients' in limit && limit.clients !== undefined && !groups.includes(limit.clients))
      wrong(
        ['limits', i, 'clients'],
        `names clients that there are not; the groups are ${groups.join(', ')}`,
      );
    if (limit.measure !== 'fairShare') return;
    if (limit.among !== undefined) checkWhom(limit.among, ['limits', i, 'among']);
    if (limit.atLeast === undefined && limit.atMost === undefined)
      wrong(['limits', i], 'takes at least one of atLeast and atMost');
    if ((limit.to ?? text.duration) - (limit.from ?? 0) < limit.window)
      wrong(['limits', i], 'looks at less than one window');
  });
  for (const [name, value] of Object.entries(text.knobs)) {
    const problem = isKnob(name) ? knobProblem(name, value) : `there is no knob ${name}`;
    if (problem !== undefined) wrong(['knobs', name], problem);
  }
  const backends = text.services * text.backends.reduce((sum, { count }) => sum + count, 0);
  if (backends > mostBackends)
    wrong(['backends'], `there are ${backends} in all, more than ${mostBackends}`);
  const most = text.clients.reduce((sum, group) => sum + mostRate(group), 0);
  if ((most * text.duration) / 1000 > mostRequests)
    wrong(['clients', 'rate'], `makes more than ${mostRequests} requests in the run`);
  return problems;
}

/** Reads a scenario. `file` is named in problems, and gives the scenario its name. */
export function parseScenario(text: string, file: string): ScenarioFile {
  const read = readYaml(text, file, scenarioSchema);
  if (!read.ok) return read;
  const problems = meaningOf(read.value, read.places);
  if (problems.length > 0) return { ok: false, problems };
  const name = file.replace(/^.*\//, '').replace(/\.ya?ml$/, '');
  try {
    return { ok: true, scenario: { ...read.value, name, knobs: makeKnobs(read.value.knobs) } };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ok: false, problems: [read.places.problem(['knobs'], error.message)] };
  }
}
