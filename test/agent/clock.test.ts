// When the agent ticks, by a clock that the test turns.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { nodeNumber, TickClock } from '../../src/lib/agent/clock.js';

describe('the agent’s clock', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Runs for `forMs`; says when it ticked, and how late it was told it was. */
  async function run(
    clock: TickClock,
    forMs: number,
    during: (tick: number) => void = () => undefined,
  ): Promise<{ readonly at: number[]; readonly lags: number[] }> {
    const stop = new AbortController();
    const [at, lags]: [number[], number[]] = [[], []];
    const beganMs = performance.now();
    const running = clock.run(stop.signal, (lagMs) => {
      at.push(Math.round(performance.now() - beganMs));
      lags.push(lagMs);
      during(at.length);
    });
    await vi.advanceTimersByTimeAsync(forMs);
    stop.abort();
    await running;
    return { at, lags };
  }

  it('ticks at once, and then on the grid of its node', async () => {
    const { at, lags } = await run(new TickClock(200, 70), 900);
    expect(at).toEqual([0, 70, 270, 470, 670, 870]);
    expect(lags.every((lag) => lag < 1)).toBe(true);
  });

  it('gives two nodes two grids, and one node the same after each restart', () => {
    expect(nodeNumber('node-a') % 200).not.toBe(nodeNumber('node-b') % 200);
    expect(nodeNumber('node-a')).toBe(nodeNumber('node-a'));
  });

  it('is woken before its time, and goes back to the grid', async () => {
    const clock = new TickClock(200, 0);
    setTimeout(() => {
      clock.wake();
    }, 90);
    const { at } = await run(clock, 450);
    expect(at).toEqual([0, 90, 200, 400]);
  });

  it('lets others have their turn: what wakes it in every tick is heard every 50 ms', async () => {
    const clock = new TickClock(200, 0);
    const { at } = await run(clock, 320, () => {
      clock.wake();
    });
    expect(at).toEqual([0, 50, 100, 150, 200, 250, 300]);
  });

  it('keeps the grid when it is woken just before its time', async () => {
    const clock = new TickClock(200, 0);
    const { at } = await run(clock, 450, (tick) => {
      if (tick === 2) setTimeout(clock.wake.bind(clock), 10);
      if (tick === 3) clock.wake();
    });
    expect(at).toEqual([0, 200, 250, 300, 400]);
  });

  it('skips the ticks that a long one overran', async () => {
    const clock = new TickClock(200, 0);
    const { at } = await run(clock, 600, (tick) => {
      if (tick === 2) vi.advanceTimersByTime(250);
    });
    expect(at).toEqual([0, 200, 600, 800]);
  });
});
