// The calendar, the limits and the whole: the same seed gives the same run.
import { describe, expect, it } from 'vitest';

import { failuresOf, runSeed } from '../../src/lib/harness/compare.js';
import { simulate } from '../../src/lib/harness/run.js';
import { shrink } from '../../src/lib/harness/shrink.js';
import { Calendar } from '../../src/lib/harness/world/calendar.js';
import { parseScenario } from '../../src/lib/harness/scenario.js';
import { scenarioOf, troubled } from './worlds.js';

describe('the calendar', () => {
  it('gives what is next, and of one moment what was set first', () => {
    const calendar = new Calendar();
    const times = [5, 1, 3, 1, 4, 1, 5, 9, 2, 6];
    times.forEach((atMs, who) => {
      calendar.at(atMs, 0, who);
    });
    const seen: [number, number][] = [];
    while (calendar.next(8)) seen.push([calendar.atMs, calendar.who]);
    expect(seen).toEqual([
      [1, 1],
      [1, 3],
      [1, 5],
      [2, 8],
      [3, 2],
      [4, 4],
      [5, 0],
      [5, 6],
      [6, 9],
    ]);
    expect(calendar.next(10)).toBe(true);
  });
});

describe('a run', () => {
  const scenario = scenarioOf(troubled);

  it('is the same for the same seed, whatever the policy, and another for another', () => {
    for (const policy of ['nity', 'gear', 'random', 'peak-ewma', 'hot-cold'] as const) {
      const digest = (seed: number) => simulate({ scenario, policy, seed }).result.digest;
      expect(digest(1)).toBe(digest(1));
      expect(digest(1)).not.toBe(digest(2));
    }
  }, 60_000);

  it('begins the same requests at the same times for every policy', () => {
    const requests = (policy: 'nity' | 'random') =>
      simulate({ scenario, policy, seed: 1 }).result.series.map((window) => window.requests);
    expect(requests('nity')).toEqual(requests('random'));
  });

  it('accounts for every request, once', () => {
    for (const policy of ['nity', 'round-robin'] as const) {
      const { total } = simulate({ scenario, policy, seed: 3 }).result;
      const ended = Object.values(total.ends).reduce((a, b) => a + b, 0);
      expect(ended).toBe(total.requests);
      expect(total.requests).toBeGreaterThan(9_000);
    }
  });

  it('costs less under the law than without it', () => {
    const lost = (policy: 'nity' | 'round-robin') => {
      const { total } = simulate({ scenario, policy, seed: 1 }).result;
      return total.requests - total.ends.answered;
    };
    expect(lost('nity') * 10).toBeLessThan(lost('round-robin'));
  });
});

describe('limits', () => {
  const limited = (limits: string) =>
    scenarioOf(troubled.replace(/limits:[^]*/, `limits:\n${limits}`));
  const failures = (limits: string) => {
    const [run] = runSeed(limited(limits), ['nity'], 1).filter(({ policy }) => policy === 'nity');
    return run === undefined ? [] : failuresOf(run);
  };

  it('that are kept say nothing, and that are missed say which', () => {
    expect(failures('  - { measure: errors, atMost: 1% }')).toEqual([]);
    expect(failures('  - { measure: p99, atMost: 1ms }')).toEqual(['limit: p99 (ms)']);
    expect(failures('  - { measure: success, atLeast: 100% }')).toEqual(['limit: success']);
  });

  it('beside another policy bring that one in, and bind only ours', () => {
    const runs = runSeed(limited('  - { measure: p999, atMost: { policy: random } }'), ['nity'], 1);
    expect(runs.map(({ policy }) => policy)).toEqual(['nity', 'random']);
    const [ours, theirs] = runs.map(({ limits }) => limits[0]);
    expect(ours).toMatchObject({ binding: true, pass: true, atMost: theirs?.value });
    expect(theirs).toMatchObject({ binding: false });
  });
});

describe('shrinking', () => {
  it('comes to a smaller scenario that breaks the same limit', () => {
    const failing = troubled.replace(/limits:[^]*/, 'limits:\n  - { measure: lost, atMost: 0 }\n');
    const shrunk = shrink(failing, 'failing.yaml', 1);
    expect(shrunk?.failure).toBe('limit: requests lost');
    const read = parseScenario(shrunk?.text ?? '', 'shrunk.yaml');
    expect(read.ok && read.scenario.faults.length).toBe(1);
    expect(read.ok && read.scenario.duration).toBeLessThan(24_000);
    expect(
      read.ok && simulate({ scenario: read.scenario, policy: 'nity', seed: 1 }).result.pass,
    ).toBe(false);
  }, 60_000);

  it('has nothing to do where nothing fails', () => {
    expect(shrink(troubled, 'fine.yaml', 1)).toBeUndefined();
  });
});
