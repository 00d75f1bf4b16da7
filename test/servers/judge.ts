// What may not happen to traffic whose backends are all healthy. Each function returns complaints,
// so that a failed test shows them all.
import type { BackendState } from './stage.js';

/** The shares that a healthy backend may have, in multiples of the fair one. */
const fairShare = { least: 0.8, most: 1.25 } as const;

/**
 * Where each connect picks at random, one share in 16,000 is further from the fair one than so many
 * standard deviations. The gear goes over the slots in turn, so its shares are nearer than that.
 */
const sigmas = 4;

/**
 * The limits of a share among `count` connects to `backends`. Where there are too few connects to
 * tell, they are as wide as chance alone is when each connect picks a backend at random.
 */
function shareLimits(
  count: number,
  backends: number,
  limits: { readonly least: number; readonly most: number } = fairShare,
): { readonly least: number; readonly most: number } {
  const chance = sigmas * Math.sqrt((backends - 1) / Math.max(count, 1));
  return { least: Math.min(limits.least, 1 - chance), most: Math.max(limits.most, 1 + chance) };
}

/** Too few connects would make every share pass. */
const leastConnects = 300;

export function unfairShares(
  what: string,
  counts: ReadonlyMap<string, number>,
  most: number = fairShare.most,
): readonly string[] {
  const sum = [...counts.values()].reduce((a, b) => a + b, 0);
  if (sum < leastConnects) return [`${what}: only ${sum} connects, too few to judge`];
  const limits = shareLimits(sum, counts.size, { least: fairShare.least, most });
  return [...counts].flatMap(([name, count]) => {
    const share = (count * counts.size) / sum;
    return share >= limits.least && share <= limits.most
      ? []
      : [
          `${what}: ${name} had ${share.toFixed(2)} × its fair share of ${sum} connects, ` +
            `not ${limits.least.toFixed(2)} to ${limits.most.toFixed(2)}`,
        ];
  });
}

/** The shares of connects, and the states, as the kernel has them. */
export function unfairTo(backends: readonly BackendState[], most?: number): readonly string[] {
  const picks = new Map(backends.map((one) => [one.name, one.picks]));
  return [...unfairShares('picks', picks, most), ...isolated(backends)];
}

export function isolated(backends: readonly BackendState[]): readonly string[] {
  return backends.flatMap(({ name, state, slots }) =>
    state === 'isolated' || slots === 0 ? [`${name} is ${state} with ${slots} slots`] : [],
  );
}
