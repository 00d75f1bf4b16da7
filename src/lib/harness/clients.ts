// Who asks, and how: groups of clients with the protocol that they speak. This file owns
// the schema of `clients` in a scenario; docs/guide/scenarios.md explains it.
import { z } from 'zod';

import { distributionSchema, duration, whole, type DistributionSpec } from './quantities.js';

const rateSchema = z.union(
  [
    z.number().gt(0).max(10_000_000),
    z.array(z.object({ from: duration, rate: z.number().min(0).max(10_000_000) }).strict()).min(1),
  ],
  'expected requests per second, or a list of { from, rate }',
);

const named = {
  name: z
    .string()
    .regex(/^[a-z][-a-z0-9]*$/, 'expected a name in lower case')
    .default('clients'),
  /**
   * The client that they are, by number: groups of one number share a network namespace.
   * Without it, each group is a client of its own.
   */
  on: whole.min(1).max(100_000).optional(),
  /** Until an answer, or until the connection stands where there will be none. */
  timeout: duration,
};
const arriving = {
  ...named,
  rate: rateSchema,
  arrivals: z.enum(['poisson', 'even'], 'expected poisson or even').default('poisson'),
  retries: whole.min(0).max(100).default(0),
  backoff: duration.default(0),
};
const exchanging = {
  /** Requests on a connection, one after the other. */
  exchanges: whole.min(1).max(100_000).default(1),
  think: duration.default(0),
};
const atOnce = { kind: 'constant', ms: 0 } as const;

const groupSchema = z.discriminatedUnion(
  'speaks',
  [
    z.object({ speaks: z.literal('request'), ...arriving, ...exchanging }).strict(),
    z
      .object({
        speaks: z.literal('late'),
        ...arriving,
        ...exchanging,
        /** How long the answer waits for its event. It takes none of the backend's capacity. */
        service: distributionSchema,
      })
      .strict(),
    z.object({ speaks: z.literal('closes'), ...arriving }).strict(),
    z
      .object({
        speaks: z.literal('never'),
        ...arriving,
        /** How long the connection is kept. */
        holds: distributionSchema,
        /** Sends again so often; without it, once. */
        every: duration.optional(),
        /** `backend`: the client shuts its side down, and the backend closes in the end. */
        closedBy: z.enum(['client', 'backend'], 'expected client or backend').default('client'),
      })
      .strict(),
    z
      .object({
        speaks: z.literal('uploads'),
        ...arriving,
        /** How long the client sends. */
        sends: distributionSchema,
        every: duration.default(50),
      })
      .strict(),
    z
      .object({
        speaks: z.literal('pool'),
        ...named,
        /** Connections, opened one after the other `within` this time. */
        size: whole.min(1).max(100_000),
        within: duration.default(1000),
        /** How long a connection rests between two uses; without it, it is never used. */
        rests: distributionSchema.optional(),
        /** How long a connection is kept; without it, for ever. */
        lasts: distributionSchema.optional(),
        /** After a connection was lost, until the next takes its place. */
        reopens: duration.default(1000),
      })
      .strict(),
    z
      .object({
        speaks: z.literal('probe'),
        ...arriving,
        holds: distributionSchema.default(atOnce),
      })
      .strict(),
    z.object({ speaks: z.literal('gives-up'), ...arriving, deadline: distributionSchema }).strict(),
    z
      .object({
        speaks: z.literal('unsent'),
        ...arriving,
        holds: distributionSchema.default(atOnce),
      })
      .strict(),
    z.object({ speaks: z.literal('subscribers'), ...arriving, holds: distributionSchema }).strict(),
  ],
  'expected one of request, late, closes, never, uploads, pool, probe, gives-up, unsent and subscribers',
);
export type ClientGroup = z.infer<typeof groupSchema>;
export type Speaks = ClientGroup['speaks'];
export type Speaking<S extends Speaks> = Extract<ClientGroup, { speaks: S }>;

/** Whoever does not say what they speak ask, and are answered. */
const group = z.preprocess(
  (text) =>
    typeof text === 'object' && text !== null && !Array.isArray(text) && !('speaks' in text)
      ? { ...text, speaks: 'request' }
      : text,
  groupSchema,
);

/** One group alone needs no list. */
export const clientsSchema = z.preprocess(
  (text) => (typeof text === 'object' && !Array.isArray(text) ? [text] : text),
  z.array(group).min(1).max(64),
);

/** Requests a second at `atMs`, before any fault. */
export function rateAt(rate: z.infer<typeof rateSchema>, atMs: number): number {
  if (typeof rate === 'number') return rate;
  let now = 0;
  for (const step of rate) if (step.from <= atMs) now = step.rate;
  return now;
}

/** A pool asks when a connection has rested. */
function poolRate({ size, rests }: Speaking<'pool'>): number {
  return rests === undefined ? 0 : (size * 1000) / Math.max(1, meanMs(rests));
}

/** Most requests a second that a group makes, without faults and retries. */
export function mostRate(group: ClientGroup): number {
  if (group.speaks === 'pool') return poolRate(group);
  const { rate } = group;
  return typeof rate === 'number' ? rate : Math.max(...rate.map((step) => step.rate));
}

/** No less than the mean of a distribution, near enough to make room by. */
function meanMs(spec: DistributionSpec): number {
  switch (spec.kind) {
    case 'constant':
      return spec.ms;
    case 'normal':
      return spec.meanMs + spec.sdMs;
    case 'exponential':
      return spec.meanMs;
    case 'lognormal':
      // The mean is median × e^(σ²/2), which is less than median × 2^(σ²).
      return spec.medianMs * 2 ** (spec.sigma * spec.sigma);
    case 'pareto':
      return (spec.leastMs * spec.shape) / (spec.shape - 1);
  }
}

/** How long a connection of the group may last, about. */
function lastsMs(group: Exclude<ClientGroup, { speaks: 'pool' }>): number {
  switch (group.speaks) {
    case 'request':
    case 'late':
      return group.timeout + group.think * group.exchanges;
    case 'never':
    case 'probe':
    case 'unsent':
    case 'subscribers':
      return group.timeout + meanMs(group.holds);
    case 'closes':
    case 'uploads':
    case 'gives-up':
      return group.timeout;
  }
}

/** Connections of the group that may stand at once; `load` multiplies its rate. */
export function mostConnections(group: ClientGroup, load: number, durationMs: number): number {
  if (group.speaks === 'pool') return 2 * group.size;
  const attempts = mostRate(group) * load * (1 + group.retries);
  return (attempts * Math.max(1000, Math.min(lastsMs(group), durationMs))) / 1000;
}
