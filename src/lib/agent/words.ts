// Reasons in words, for the log and for `nity explain`: what changed, why, and
// the numbers that made it so.
import type { Cause, Change, Reason } from '../field/reasons.js';
import type { Observing } from './observing.js';

export function milliseconds(ms: number): string {
  if (ms < 1) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 1e9 ? `${(ms / 60_000).toFixed(0)} min` : 'never';
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** By so much an answer may be later than normal and still be called normal. */
const asNormal = 1.1;

function describeLatency({ us, normalUs }: Extract<Cause, { kind: 'latency' }>): string {
  const [takes, normal] = [milliseconds(us / 1000), milliseconds(normalUs / 1000)];
  // Who was in trouble is not any more, and the slots still owed to it move back.
  return us <= normalUs * asNormal
    ? `latency: answers take ${takes}, which is normal; slots even out`
    : `latency: answers take ${takes}, normal is ${normal}`;
}

/** What convicted the backend, and what its peers showed at the same time. */
function describeIsolation({ of, cooldownMs, own, peers }: Extract<Cause, { kind: 'isolation' }>) {
  const next = `a probe in ${milliseconds(cooldownMs)}`;
  switch (of) {
    case 'errors':
      return `isolation by errors: ${percent(own)} fail, of its peers’ ${percent(peers)}; ${next}`;
    case 'silence':
      return `isolation by silence: no answer for ${milliseconds(own)}, its peers’ slowest took ${milliseconds(peers)}; ${next}`;
    case 'latency':
      return `isolation by latency: answers take ${milliseconds(own)}, its peers’ ${milliseconds(peers)}; ${next}`;
  }
}

export function describeCause(cause: Cause): string {
  switch (cause.kind) {
    case 'latency':
      return describeLatency(cause);
    case 'errors':
      return `errors: ${percent(cause.ratio)} fail, the gate is at ${percent(cause.gate)}`;
    case 'queue':
      return `queue: ${cause.ratio.toFixed(1)} times its peers’ requests under way per slot, counted from ${cause.gate}`;
    case 'silence':
      return `silence: ${cause.waiting} first requests unanswered for ${milliseconds(cause.ageMs)}`;
    case 'isolation':
      return describeIsolation(cause);
    case 'drip':
      return `drip: isolated by ${cause.of}, one probe in ${milliseconds(cause.cooldownMs)}`;
    case 'recovery':
      return `recovery: well for ${milliseconds(cause.forMs)}`;
    case 'ttf':
      return `ttf: ${cause.resource} lasts ${milliseconds(cause.ttfMs)}, the limit is ${milliseconds(cause.limitMs)}`;
    case 'stall':
      return `stall: the node stalled in ${cause.ticks} of ${cause.of} ticks`;
    case 'capacity':
      return `capacity: ${percent(cause.unserved)} of requests stay unanswered (usually ${percent(cause.usual)}), ${cause.goodputPerSecond.toFixed(0)} of ${cause.offeredPerSecond.toFixed(0)} connects/s are answered, late`;
    case 'conductance':
      return `conductance: ${cause.conductance.toFixed(2)} of a healthy route’s, least is ${cause.least}`;
    case 'guard':
      return `guard: the skew grew to ${percent(cause.skew)}, tolerated is ${percent(cause.limit)} a tick`;
    case 'churn':
      return `churn: ${cause.backends} backend${cause.backends === 1 ? '' : 's'} came or went`;
    case 'override':
      return cause.mode === null
        ? 'override: control is the agent’s again'
        : `override: the operator set ${cause.mode}`;
    case 'systemic':
      return `systemic: ${cause.isolated} of ${cause.backends} backends would be isolated`;
    case 'failsafe':
      return cause.held ? 'failsafe: the field is held by an operator' : 'failsafe: released';
  }
}

function describeChange(change: Change): string {
  switch (change.of) {
    case 'slots': {
      const { backend, from, to, because } = change;
      const whose = because === backend || because === change.route ? '' : ` for ${because}`;
      return `${backend} ${from}→${to} slots${whose}`;
    }
    case 'admission':
      return `admission ${change.from}→${change.to}`;
    case 'regime':
      return `regime ${change.from}→${change.to}`;
    case 'override':
      return 'override';
    case 'hold':
      return 'projection';
  }
}

/** The same in a line of 60 columns: what changed, and the kind of its cause. */
export function describeBriefly({ change, cause }: Reason): string {
  const kind =
    cause.kind === 'isolation' || cause.kind === 'drip' ? `${cause.kind}, ${cause.of}` : cause.kind;
  if (change.of !== 'slots') return `${describeChange(change)} (${kind})`;
  return `${change.backend} ${change.from}→${change.to} slots (${kind})`;
}

/** A reason, and how much of the change was done where not all was. */
export function describeDone(
  reason: Reason,
  observed: ReadonlyMap<string, Pick<Observing, 'percent'>>,
): string {
  const words = describeReason(reason);
  const of = 'route' in reason.change ? observed.get(reason.change.route) : undefined;
  if (of === undefined) return words;
  return of.percent === 0 ? `only observed: ${words}` : `${of.percent} % enforced: ${words}`;
}

export function describeReason({ change, cause }: Reason): string {
  return `${describeChange(change)} (${describeCause(cause)})`;
}
