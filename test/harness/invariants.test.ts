// The watch over the law: silent while it keeps its promises, and to the point when it
// breaks one.
import { describe, expect, it } from 'vitest';

import { tableOf, type Plane } from '../../src/lib/dataplane/plane.js';
import { step, type Law } from '../../src/lib/field/step.js';
import type { BackendField, RouteField, StepResult } from '../../src/lib/field/types.js';
import type { InvariantName } from '../../src/lib/harness/invariant.js';
import { simulate } from '../../src/lib/harness/run.js';
import { scenarioOf, troubled } from './worlds.js';

const scenario = scenarioOf(troubled);

function broken(law: Law): InvariantName[] {
  const { result } = simulate({ scenario, policy: 'nity', seed: 1, sabotage: { law } });
  return result.invariants.filter(({ pass }) => !pass).map(({ name }) => name);
}

/** A law that does with each route's field what `spoil` makes of it. */
function spoiled(spoil: (route: RouteField, tick: number) => RouteField): Law {
  let tick = 0;
  return (state, inputs, knobs): StepResult => {
    const made = step(state, inputs, knobs);
    tick++;
    const routes = made.field.routes.map((route) => spoil(route, tick));
    return { ...made, field: { ...made.field, routes } };
  };
}

function withBackends(
  route: RouteField,
  change: (backend: BackendField, i: number) => Partial<BackendField>,
): RouteField {
  const backends = route.backends.map((backend, i) => ({ ...backend, ...change(backend, i) }));
  return { ...route, backends };
}

describe('the law that ships', () => {
  it('breaks nothing, and everything was looked at', () => {
    const { result } = simulate({ scenario, policy: 'nity', seed: 1 });
    expect(result.invariants.map(({ name, pass }) => [name, pass])).toEqual([
      ['conservation', true],
      ['boundary', true],
      ['no-blackhole', true],
      ['max-isolation', true],
      ['viscosity', true],
      ['explained', true],
      ['bounded-flapping', true],
      ['monotonic-skew', true],
      ['coherence', true],
      ['bounded-remap', true],
      ['liveness', true],
      ['accounting', true],
    ]);
    for (const { name, checks } of result.invariants) expect(checks, name).toBeGreaterThan(0);
  });
});

describe('a law broken on purpose', () => {
  it('that loses a slot breaks conservation', () => {
    const law = spoiled((route, tick) =>
      tick < 20
        ? route
        : withBackends(route, ({ slots }, i) => ({ slots: i === 2 ? slots - 1 : slots })),
    );
    expect(broken(law)).toContain('conservation');
  });

  it('that names a backend of another route breaks boundary', () => {
    const law = spoiled((route, tick) =>
      tick < 20
        ? route
        : withBackends(route, ({ id }, i) => ({ id: i === 2 ? '127.9.9.9:99' : id })),
    );
    expect(broken(law)).toContain('boundary');
  });

  it('that isolates most of a route breaks max-isolation, and all of it no-blackhole', () => {
    const isolating = (count: number) =>
      spoiled((route, tick) =>
        tick < 20
          ? route
          : withBackends(route, ({ state }, i) => ({ state: i < count ? 'isolated' : state })),
      );
    expect(broken(isolating(3))).toContain('max-isolation');
    expect(broken(isolating(4))).toContain('no-blackhole');
  });

  it('that moves a third of the slots at once breaks viscosity, and says whose they were', () => {
    const law = spoiled((route, tick) =>
      tick !== 10
        ? route
        : withBackends(route, ({ slots }, i) => ({
            slots: slots + (i === 2 ? -6 : i === 3 ? 6 : 0),
          })),
    );
    const { result } = simulate({ scenario, policy: 'nity', seed: 1, sabotage: { law } });
    const verdict = result.invariants.find(({ name }) => name === 'viscosity');
    expect(verdict?.first).toMatchObject({ sequence: 10, seen: 6, limit: 1 });
    expect(verdict?.first?.says).toMatch(/^127\.0\.0\.1:\d+ moved 6 slots in a tick, where 1 may/);
  });

  it('that gives no reason breaks explained', () => {
    const law: Law = (...args) => ({ ...step(...args), reasons: [] });
    expect(broken(law)).toEqual(['explained']);
  });

  it('that moves slots to and fro breaks bounded-flapping, and no step of it explains itself', () => {
    const quiet = scenarioOf(
      troubled.replace(/faults:[^]*limits:/, 'limits:').replace('24s', '90s'),
    );
    const law = spoiled((route, tick) =>
      tick < 2
        ? route
        : withBackends(route, ({ before }, i) => {
            const by = tick % 2 === 0 ? 1 : -1;
            return { slots: before + (i === 0 ? by : i === 1 ? -by : 0) };
          }),
    );
    const { result } = simulate({ scenario: quiet, policy: 'nity', seed: 1, sabotage: { law } });
    const names = result.invariants.filter(({ pass }) => !pass).map(({ name }) => name);
    expect(names).toContain('bounded-flapping');
  });

  it('that runs away from its weights breaks monotonic-skew', () => {
    const law = spoiled((route, tick) =>
      tick < 3 || tick > 4
        ? route
        : withBackends(route, ({ before }, i) => ({
            slots: before + (i === 0 ? 4 : i === 1 ? -4 : 0),
          })),
    );
    expect(broken(law)).toContain('monotonic-skew');
  });

  it('never reaches the kernel with what is unsafe: the field in force stays', () => {
    const outcomes = new Set<string>();
    const law = spoiled((route, tick) =>
      tick < 20 ? route : withBackends(route, () => ({ slots: 0 })),
    );
    const { result } = simulate({
      scenario,
      policy: 'nity',
      seed: 1,
      sabotage: { law },
      onTick: (_node, nowMs, { outcome }) => {
        if (nowMs > 4000) outcomes.add(outcome.kind);
      },
    });
    expect([...outcomes]).toEqual(['unsafe']);
    // Without a heartbeat the kernel holds, and falls back: connects are served all the while.
    expect(result.total.ends.turnedAway).toBe(0);
    expect(result.total.ends.answered / result.total.requests).toBeGreaterThan(0.9);
  });
});

describe('a dataplane broken on purpose', () => {
  function sabotaged(maps: (plane: Plane, nowMs: number) => void): InvariantName[] {
    const { result } = simulate({ scenario, policy: 'nity', seed: 1, sabotage: { maps } });
    return result.invariants.filter(({ pass }) => !pass).map(({ name }) => name);
  }

  it('that flips to a table which is half written breaks coherence', () => {
    let done = false;
    const names = sabotaged((plane, nowMs) => {
      if (done || nowMs < 4_000) return;
      done = true;
      const epoch = plane.word('epoch');
      plane.setTableEpoch(tableOf(epoch + 1n), 0n);
      plane.flipEpoch(epoch, epoch + 1n);
    });
    expect(names).toContain('coherence');
  });

  it('whose slots name the backends of nobody breaks boundary', () => {
    const names = sabotaged((plane, nowMs) => {
      if (nowMs > 3_000) for (const table of plane.slotTables) table.fill(7);
    });
    expect(names).toContain('boundary');
  });
});
