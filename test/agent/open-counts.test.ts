// What an agent says of its comparison of the open counts with the sockets: each thing once.
import { beforeEach, describe, expect, it } from 'vitest';

import { OpenCounts } from '../../src/lib/agent/open-counts.js';
import type { Reconciled } from '../../src/lib/dataplane/reconcile.js';

const hour = 3_600_000;

describe('the comparison of open counts', () => {
  let outcome: () => Reconciled;
  let runs: number;
  let said: string[];
  let openCounts: OpenCounts;

  const refused = (cause: string) => (): Reconciled => ({
    kind: 'refused',
    ...{ cause, advice: 'None.' },
  });
  /** A tick every 200 ms, from one time to another. */
  const tick = (fromMs: number, toMs: number) => {
    for (let ms = fromMs; ms < toMs; ms += 200) openCounts.see(ms, () => [1]);
  };

  beforeEach(() => {
    said = [];
    runs = 0;
    outcome = () => ({ kind: 'compared', corrected: 0 });
    const run = () => {
      runs++;
      return outcome();
    };
    const log = {
      info: (line: string) => said.push(line),
      warn: (line: string) => said.push(line),
    };
    openCounts = new OpenCounts({ run }, log, 0);
  });

  it('is made once a minute, and is silent while the counts are right', () => {
    tick(0, 10 * 60_000);
    expect(runs).toBe(10);
    expect(said).toEqual([]);
  });

  it('tells how many counts it corrected', () => {
    outcome = () => ({ kind: 'compared', corrected: 3 });
    tick(0, 10_000);
    expect(said).toEqual(['3 open counts differed from the sockets and were corrected']);
  });

  it('tells once that the kernel refuses, and asks it only once an hour then', () => {
    outcome = refused('a policy refuses');
    tick(0, 24 * hour);
    expect(runs).toBe(24);
    expect(said).toEqual([
      'open counts are not compared with the sockets, and trusted as they are: a policy refuses',
    ]);
  });

  it('tells of another cause, and of the end of it', () => {
    outcome = refused('one');
    tick(0, hour);
    outcome = refused('other');
    tick(hour, 2 * hour);
    outcome = () => ({ kind: 'compared', corrected: 0 });
    tick(2 * hour, 5 * hour);
    expect(said.map((line) => /one$|other$|again$/.exec(line)?.[0])).toEqual([
      'one',
      'other',
      'again',
    ]);
  });

  it('never ends the agent, whatever it comes to', () => {
    outcome = () => {
      throw new Error('impossible');
    };
    tick(0, 2 * hour);
    expect(said).toEqual([expect.stringContaining('impossible')]);
  });
});
