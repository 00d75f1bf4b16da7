// The parts of the law, each against its equation.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { defaultKnobs as knobs } from '../../src/lib/config/knobs.js';
import { exp2, gain, log2, median } from '../../src/lib/field/arithmetic.js';
import { budgetOf, carriedOf } from '../../src/lib/field/budget.js';
import { guarded, skewOf } from '../../src/lib/field/guard.js';
import { freshNode, judgeNode } from '../../src/lib/field/node.js';
import { regimeOf, type Health } from '../../src/lib/field/regime.js';
import { nothingSensed, type NodeSignals, type Stall } from '../../src/lib/field/signals.js';
import { followFlow, freshValve, stepValve, type Demand } from '../../src/lib/field/valve.js';
import { idle, routeOf } from './world.js';

describe('arithmetic', () => {
  it('log2 and exp2 agree with the truth to nine digits', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-300, max: 1e300, noNaN: true }), (x) => {
        expect(Math.abs(log2(x) - Math.log2(x))).toBeLessThan(1e-7);
      }),
    );
    fc.assert(
      fc.property(fc.double({ min: -900, max: 900, noNaN: true }), (x) => {
        expect(Math.abs(exp2(x) / 2 ** x - 1)).toBeLessThan(1e-8);
      }),
    );
  });

  it('log2 and exp2 are these very bits on every machine', () => {
    expect([log2(3), log2(10), log2(1e-6), exp2(0.5), exp2(-3.3), exp2(20.25)])
      .toMatchInlineSnapshot(`
      [
        1.5849625007146222,
        3.3219280948873613,
        -19.931568569324174,
        1.4142135623730885,
        0.10153154954450638,
        1246974.0398210932,
      ]
    `);
  });

  it('is exact at powers of two', () => {
    for (let n = -40; n <= 40; n++) {
      expect(log2(2 ** n)).toBe(n);
      expect(exp2(n)).toBe(2 ** n);
    }
  });

  it('the moving average is the backward Euler step: it forgets by wall time, not by steps', () => {
    const after = (dtMs: number) => (1 - gain(dtMs, 1000)) ** (1000 / dtMs);
    expect(after(100)).toBeCloseTo(Math.exp(-1), 1);
    expect(gain(0, 1000)).toBe(0);
    expect(gain(1e9, 1000)).toBeCloseTo(1);
  });

  it('the median occurs among the values', () => {
    expect(median([])).toBeNull();
    expect(median([3, 1])).toBe(1);
    expect(median([9, 1, 5])).toBe(5);
  });
});

describe('the guard', () => {
  it('measures the skew at the worst backend', () => {
    expect(skewOf([32, 32], [0.5, 0.5], 64)).toBe(0);
    expect(skewOf([48, 16], [0.5, 0.5], 64)).toBe(0.25);
  });

  it('halves the limit when the skew grows from a step, and widens it in calm', () => {
    const grown = guarded(1, 0.05, 0.1, true, knobs);
    expect(grown).toEqual({ scale: 0.5, tightened: true });
    expect(guarded(0.5, 0.1, 0.1, true, knobs)).toEqual({ scale: 0.6, tightened: false });
    expect(guarded(0.5, 0.05, 0.1, false, knobs).tightened).toBe(false);
    expect(guarded(1 / 64, 0, 1, true, knobs).scale).toBe(1 / 64);
  });
});

const GiB = 2 ** 30;

function node(memoryUsed: number, stall: Partial<Record<'cpu' | 'memory' | 'io', Stall>> = {}) {
  const bare = nothingSensed('this is a test');
  const read = (value: Stall | undefined) =>
    value === undefined ? bare.stalls.cpu : ({ kind: 'read', value } as const);
  return {
    ...bare,
    stalls: { cpu: read(stall.cpu), memory: read(stall.memory), io: read(stall.io) },
    usage: {
      ...bare.usage,
      memory: { kind: 'read', value: { used: memoryUsed, limit: 10 * GiB } },
    },
  } satisfies NodeSignals;
}

/** Looks at the node once in `dtMs`, as long as there are values. */
function watch(looks: readonly NodeSignals[], dtMs = 200) {
  let memory = freshNode;
  return looks.map((signals) => {
    const verdict = judgeNode(memory, signals, dtMs, knobs);
    ({ memory } = verdict);
    return verdict;
  });
}

describe('time to failure', () => {
  const growing = (perSecond: number, from: number, ticks: number) =>
    Array.from({ length: ticks }, (_, i) => node(from + perSecond * 0.2 * i));

  it('is (limit − usage) / v over the window', () => {
    const last = watch(growing(0.01 * GiB, 8 * GiB, 51)).at(-1);
    expect(last?.exhaustion).toMatchObject({ resource: 'memory' });
    // 1.9 GiB are left, at 10 MiB a second and a bit.
    expect(last?.exhaustion?.ttfMs).toBeCloseTo(190_000, -3);
    expect(last?.mode).toBe('normal');
  });

  it('below two minutes is soft, below twenty seconds hard, each with its numbers', () => {
    const soft = watch(growing(0.02 * GiB, 8 * GiB, 51)).at(-1);
    expect(soft).toMatchObject({ mode: 'soft', cause: { kind: 'ttf', resource: 'memory' } });
    const hard = watch(growing(0.05 * GiB, 9 * GiB, 51)).at(-1);
    expect(hard).toMatchObject({ mode: 'hard', cause: { kind: 'ttf', limitMs: 20_000 } });
  });

  it('far from the limit, or of a single step, counts for nothing', () => {
    expect(watch(growing(0.5 * GiB, 1 * GiB, 30)).at(-1)?.mode).toBe('normal');
    expect(watch([node(8 * GiB), node(9.5 * GiB)]).at(-1)?.mode).toBe('normal');
    expect(watch(growing(-0.05 * GiB, 9.9 * GiB, 51)).at(-1)?.mode).toBe('normal');
  });

  it('of a resource that cannot be read is missing, not zero', () => {
    const [verdict] = watch([nothingSensed('there is no /proc')]);
    expect(verdict).toMatchObject({ exhaustion: null, mode: 'normal' });
    expect(verdict?.missing).toHaveLength(8);
    expect(verdict?.missing[0]).toEqual({ sensor: 'psi cpu', why: 'there is no /proc' });
  });
});

describe('a stall', () => {
  const stalled = node(0, { memory: { some: 1, full: 0.5 } });

  it('is hard once eight of the last ten ticks stall, and not before', () => {
    const verdicts = watch(Array.from({ length: 12 }, () => stalled));
    expect(verdicts[6]?.mode).toBe('normal');
    expect(verdicts[7]).toMatchObject({ mode: 'hard', cause: { kind: 'stall', ticks: 8, of: 10 } });
    const relieved = watch([
      ...Array.from({ length: 10 }, () => stalled),
      node(0),
      node(0),
      node(0),
    ]);
    expect(relieved.at(-1)?.mode).toBe('normal');
  });

  it('of the CPU alone never closes the valve by default: a busy node is no broken one', () => {
    const busy = node(0, { cpu: { some: 1, full: 0 } });
    expect(watch(Array.from({ length: 20 }, () => busy)).at(-1)?.mode).toBe('normal');
  });
});

describe('the valve', () => {
  const calm: Demand = { mode: 'normal', cause: null };
  const ttf = { kind: 'ttf', resource: 'memory', ttfMs: 1, limitMs: 2 } as const;
  const soft: Demand = { mode: 'soft', cause: ttf };
  const hard: Demand = { mode: 'hard', cause: ttf };
  const missing: Demand = {
    mode: 'soft',
    cause: {
      kind: 'capacity',
      offeredPerSecond: 20,
      goodputPerSecond: 10,
      unserved: 0.5,
      usual: 0,
    },
  };
  /** One tick in which so many connects came to something, and so many were refused. */
  function stepped(
    memory: typeof freshValve,
    demand: Demand,
    connects: number,
    { refused = 0, congested = false } = {},
  ) {
    const signals = routeOf([{ ...idle('a', 64), picks: connects, connects }], { refused });
    const flow = followFlow(memory, signals, false, 200, knobs);
    return stepValve(memory, demand, congested, flow, refused, 200, knobs);
  }

  function run(demands: readonly Demand[], { connects = 20, congested = false } = {}) {
    let memory = freshValve;
    return demands.map((demand) => {
      const made = stepped(memory, demand, connects, { congested });
      ({ memory } = made);
      return made.field;
    });
  }
  const times = (n: number, demand: Demand) => Array.from({ length: n }, () => demand);

  it('closes in the tick that asks for it, straight to hard', () => {
    expect(run([calm, hard])[1]).toMatchObject({ mode: 'hard', cause: { kind: 'ttf' } });
  });

  it('opens by one mode after each twenty seconds of calm, through soft', () => {
    const modes = run([hard, ...times(250, calm)]).map(({ mode }) => mode);
    expect(modes[99]).toBe('hard');
    expect(modes[100]).toBe('soft');
    expect(modes[199]).toBe('soft');
    expect(modes[200]).toBe('normal');
  });

  it('begins its calm anew at each relapse', () => {
    const modes = run([soft, ...times(90, calm), soft, ...times(90, calm)]).map(({ mode }) => mode);
    expect(modes.every((mode) => mode === 'soft')).toBe(true);
  });

  // 20 connects in 200 ms: 100 a second.
  const budgets = (demands: readonly Demand[], how = {}) =>
    run([...times(50, calm), ...demands], how)
      .map(({ budgetPerSecond }) => budgetPerSecond)
      .slice(50);

  it('has no budget unless it is soft', () => {
    expect(budgets([calm, hard])).toEqual([null, null]);
  });

  it('begins at nine tenths of what the route carried', () => {
    expect(budgets([soft])[0]).toBeCloseTo(90, 0);
  });

  it('admits a little less, ever again, while the node runs out of something', () => {
    const after = budgets(times(51, soft));
    expect(after[50]).toBeCloseTo(45, 0);
  });

  it('halves each second while the backends are overwhelmed, and is back as fast', () => {
    const after = budgets(times(11, soft), { congested: true });
    expect(after[10]).toBeCloseTo(90 / 4, 0);
    let budget: number | null = 22.5;
    const carried = { carriedPerSecond: 100, goodputPerSecond: 22.5 };
    for (let i = 0; i < 10; i++) budget = budgetOf(budget, 'pressed', carried, 200, knobs);
    expect(budget).toBeCloseTo(90, 0);
  });

  it('grows by a tenth a second beyond what was carried, to half as much again', () => {
    const after = budgets(times(51, missing));
    expect(after[5]).toBeCloseTo(90 * 2 ** 0.15, 0);
    expect(after[50]).toBeCloseTo(150, 0);
  });

  it('never admits less than the least, so that it can find out', () => {
    expect(run(times(50, soft), { connects: 0 }).at(-1)?.budgetPerSecond).toBe(knobs.budgetMin);
  });

  it('keeps in mind what an outage ended', () => {
    const carried = carriedOf(100, 0, 60_000);
    expect(carried).toBe(100);
    expect(carriedOf(carried, 50, 200)).toBeGreaterThan(99);
  });

  it('stays soft until the debt of those it refused is repaid', () => {
    let memory = freshValve;
    const tick = (demand: Demand, refused: number) => {
      const made = stepped(memory, demand, 20, { refused });
      ({ memory } = made);
      return made.field;
    };
    for (let i = 0; i < 50; i++) tick(soft, 40);
    expect(memory.debt).toBeCloseTo(2000, -1);
    for (let i = 0; i < 110; i++) tick(calm, 0);
    expect(memory).toMatchObject({ mode: 'soft' });
    expect(memory.debt).toBeGreaterThan(0);
    for (let i = 0; i < 150; i++) tick(calm, 0);
    expect(memory).toMatchObject({ mode: 'normal', debt: 0 });
  });
});

describe('regimes', () => {
  const well: Health = {
    systemic: false,
    admission: 'normal',
    conductance: 1,
    sick: 0,
    returning: 0,
    debt: 0,
  };

  it('follow health, and come back to laminar only through recovery', () => {
    expect(regimeOf('laminar', well, knobs)).toBe('laminar');
    expect(regimeOf('laminar', { ...well, sick: 1 }, knobs)).toBe('transition');
    expect(regimeOf('laminar', { ...well, admission: 'soft' }, knobs)).toBe('transition');
    expect(regimeOf('transition', { ...well, systemic: true }, knobs)).toBe('crisis');
    expect(regimeOf('transition', { ...well, admission: 'hard' }, knobs)).toBe('crisis');
    expect(regimeOf('crisis', well, knobs)).toBe('recovery');
    expect(regimeOf('recovery', { ...well, returning: 1 }, knobs)).toBe('recovery');
    expect(regimeOf('recovery', { ...well, debt: 5 }, knobs)).toBe('recovery');
    expect(regimeOf('recovery', well, knobs)).toBe('laminar');
    expect(regimeOf('laminar', { ...well, returning: 1 }, knobs)).toBe('laminar');
  });
});
