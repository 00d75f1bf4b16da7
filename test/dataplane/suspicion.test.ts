// For whom a backend is suspect: the views' rule is the kernel's.
import { describe, expect, it } from 'vitest';

import { suspectFor, type Accusation } from '../../src/lib/dataplane/suspicion.js';

const clear: Accusation = {
  failures: 0,
  accusers: 0,
  suspectUntilNs: 0,
  accuserFailures: 0,
  accuserUntilNs: 0,
};
const byAll: Accusation = {
  failures: 2,
  accusers: 2,
  suspectUntilNs: 100,
  accuserFailures: 1,
  accuserUntilNs: 0,
};
const byOne: Accusation = { ...byAll, accusers: 1, accuserFailures: 2, accuserUntilNs: 100 };

describe('a suspect', () => {
  it.each([
    ['nobody failed', clear, 'none'],
    ['two clients saw as many failures as it takes', byAll, 'all'],
    [
      'of two clients the last has failed often enough by itself',
      { ...byAll, accuserFailures: 9 },
      'all',
    ],
    ['two clients saw fewer', { ...byAll, failures: 1 }, 'none'],
    ['one client alone saw as many', byOne, 'one'],
    ['one client alone saw fewer', { ...byOne, accuserFailures: 1 }, 'none'],
    ['one client alone failed, however often', { ...byOne, failures: 1000 }, 'one'],
    ['others succeeded since, the one did not', { ...byOne, failures: 0, accusers: 0 }, 'one'],
    ['the agent isolates it and nobody failed', { ...clear, suspectUntilNs: 100 }, 'none'],
  ] as const)('when %s: %s', (_, seen, expected) => {
    expect(suspectFor(seen, 2, 99)).toBe(expected);
    // When its time is over it may be tried; 0 switches suspicion off.
    expect(suspectFor(seen, 2, 100)).toBe('none');
    expect(suspectFor(seen, 0, 99)).toBe('none');
  });
});
