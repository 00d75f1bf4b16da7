// One line of an application's summary: its form, and what is said of one that is wrong.
// It knows neither the socket it came by nor who is served.
import { z } from 'zod';

import type { AppSummary } from '../field/signals.js';

export interface SummaryLine {
  readonly route: string;
  readonly backend: string;
  readonly summary: AppSummary;
}

/** What is answered to the sender: a sentence of what was wrong and one of what to do. */
export interface LineProblem {
  readonly error: string;
  readonly hint: string;
}

const formHint = 'The form of a line is in docs/config/app-summaries.md.';
/** The longest name of a route, and the longest IPv4 address with a port. */
const longestRoute = 159;
const longestBackend = 21;

function name(longest: number, example: string) {
  const message = `expected a name such as ${example}`;
  return z.string(message).max(longest, message).regex(/^\S+$/, message);
}

function amount(most: number) {
  const message = `expected a number from 0 to ${most}, or to be left out`;
  return (
    z
      .number(message)
      .min(0, message)
      .max(most, message)
      // -0 becomes 0: a recorder that writes JSON would lose the difference.
      .transform((value) => value + 0)
      .optional()
  );
}

const lineSchema = z
  .strictObject(
    {
      route: name(longestRoute, 'shop/cart:http'),
      backend: name(longestBackend, '127.0.0.1:21001'),
      latencyP95Ms: amount(3_600_000),
      errorRate: amount(1),
      queueDepth: amount(1_000_000),
    },
    { error: (issue) => (issue.code === 'invalid_type' ? 'expected one JSON object' : undefined) },
  )
  .refine(
    ({ latencyP95Ms, errorRate, queueDepth }) =>
      latencyP95Ms !== undefined || errorRate !== undefined || queueDepth !== undefined,
    'expected latencyP95Ms, errorRate or queueDepth',
  );

export function parseSummaryLine(text: string): SummaryLine | LineProblem {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { error: 'The line is not JSON.', hint: `Send one object a line. ${formHint}` };
  }
  const parsed = lineSchema.safeParse(value);
  if (!parsed.success) return { error: describe(parsed.error), hint: formHint };
  const { route, backend, latencyP95Ms = null, errorRate = null, queueDepth = null } = parsed.data;
  return { route, backend, summary: { latencyP95Ms, errorRate, queueDepth } };
}

/** The first thing wrong; a name that the sender made up is cut short. */
function describe({ issues: [issue] }: z.ZodError): string {
  if (issue === undefined) return 'The line is wrong.';
  if (issue.code === 'unrecognized_keys')
    return `${issue.keys[0]?.slice(0, 40) ?? ''}: unknown key.`;
  const where = issue.path.join('.');
  return where === '' ? `The line is wrong: ${issue.message}.` : `${where}: ${issue.message}.`;
}
