// The quantities that a scenario names: durations, shares, whole numbers, and how long
// something takes by chance.
import { z } from 'zod';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** "250ms", "15s", "2m": milliseconds. */
export const duration = z
  .string('expected a duration such as 250ms, 15s or 2m')
  .regex(/^\d+(\.\d+)?(ms|s|m|h)$/, 'expected a duration such as 250ms, 15s or 2m')
  .transform((text) => {
    const [, amount = '0', unit = 'ms'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
    return Number(amount) * (unitsMs[unit] ?? 1);
  });

/** "2%" or 0.02. */
export const share = z.union(
  [
    z.number().min(0),
    z
      .string()
      .regex(/^\d+(\.\d+)?%$/, 'expected a share such as 0.02 or 2%')
      .transform((text) => Number(text.slice(0, -1)) / 100),
  ],
  'expected a share such as 0.02 or 2%',
);
export const part = share.refine((value) => value <= 1, 'expected a share of at most 100%');

/** How long something takes, by chance. Parameters in milliseconds. */
export const distributionSchema = z.union(
  [
    duration.transform((ms) => ({ kind: 'constant' as const, ms })),
    z
      .object({ normal: z.object({ mean: duration, sd: duration }).strict() })
      .strict()
      .transform(({ normal }) => ({
        kind: 'normal' as const,
        meanMs: normal.mean,
        sdMs: normal.sd,
      })),
    z
      .object({ exponential: z.object({ mean: duration }).strict() })
      .strict()
      .transform(({ exponential }) => ({ kind: 'exponential' as const, meanMs: exponential.mean })),
    z
      .object({
        lognormal: z.object({ median: duration, sigma: z.number().min(0).max(5) }).strict(),
      })
      .strict()
      .transform(({ lognormal }) => ({
        kind: 'lognormal' as const,
        medianMs: lognormal.median,
        sigma: lognormal.sigma,
      })),
    z
      .object({
        pareto: z.object({ least: duration, shape: z.number().gt(1).max(100) }).strict(),
      })
      .strict()
      .transform(({ pareto }) => ({
        kind: 'pareto' as const,
        leastMs: pareto.least,
        shape: pareto.shape,
      })),
  ],
  'expected a duration, or one of normal, exponential, lognormal and pareto with its parameters',
);
export type DistributionSpec = z.infer<typeof distributionSchema>;

export const whole = z.int('expected a whole number');
