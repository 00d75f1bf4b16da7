// Startup, liveness and readiness as the kubelet would learn of them, tick by tick.
import { describe, expect, it } from 'vitest';

import type { Tick } from '../../src/lib/agent/agent.js';
import { Health } from '../../src/lib/agent/health.js';
import { makeKnobs } from '../../src/lib/config/knobs.js';

const knobs = makeKnobs({});
const far = 1e12;

interface Node {
  readonly ttfMs?: number;
  readonly stalledTicks?: number;
  readonly outcome?: Tick['outcome']['kind'];
}

/** Only what health goes by. */
function tick({ ttfMs = far, stalledTicks = 0, outcome = 'unchanged' }: Node = {}): Tick {
  return {
    knobs,
    outcome: outcome === 'unsafe' ? { kind: outcome, why: 'it is broken.' } : { kind: outcome },
    field: {
      node: {
        exhaustion: { resource: 'memory', used: 1, limit: 2, perSecond: 1, ttfMs },
        stalledTicks,
      },
    },
  } as unknown as Tick;
}

/** Ticks every 200 ms; `now` is the time of the last. */
class Trial {
  readonly health = new Health(0, knobs);
  now = 0;

  run(ms: number, node: Node = {}, routesKnown = true): this {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 200;
      this.health.see(tick(node), this.now, routesKnown);
    }
    return this;
  }

  ok(probe: 'startup' | 'liveness' | 'readiness'): boolean {
    return this.health.ask(probe, this.now).ok;
  }
}

describe('startup', () => {
  it('is done with the first projection, and stays done', () => {
    const trial = new Trial();
    expect(trial.ok('startup')).toBe(false);
    expect(trial.run(200).ok('startup')).toBe(true);
    expect(trial.run(200, { outcome: 'unsafe' }).ok('startup')).toBe(true);
  });

  it('waits for the routes, however often the agent ticks without them', () => {
    const trial = new Trial().run(10_000, {}, false);
    expect(trial.ok('startup')).toBe(false);
    expect(trial.health.ask('startup', trial.now).why).toEqual(['the routes are not known yet']);
    expect(trial.run(200).ok('startup')).toBe(true);
  });

  it('is not done by a tick that projects nothing', () => {
    expect(new Trial().run(1_000, { outcome: 'busy' }).ok('startup')).toBe(false);
  });
});

describe('liveness', () => {
  it('is lost when no tick came for as long as the kernel waits before it falls back', () => {
    const trial = new Trial().run(1_000);
    expect(trial.health.ask('liveness', trial.now + knobs.tau2Ms).ok).toBe(true);
    expect(trial.health.ask('liveness', trial.now + knobs.tau2Ms + 1).ok).toBe(false);
  });

  it('counts from the beginning when the first tick never comes', () => {
    const { health } = new Trial();
    expect(health.ask('liveness', knobs.tau2Ms).ok).toBe(true);
    expect(health.ask('liveness', knobs.tau2Ms + 1).ok).toBe(false);
  });

  it('is kept by a node under strain: a restart would only add to it', () => {
    expect(new Trial().run(5_000, { ttfMs: 1_000, stalledTicks: 10 }).ok('liveness')).toBe(true);
  });
});

describe('liveness of an agent whose field cannot be projected', () => {
  it('is lost after ten seconds, with the reason', () => {
    const trial = new Trial().run(1_000).run(10_000, { outcome: 'unsafe' });
    expect(trial.ok('liveness')).toBe(true);
    trial.run(200, { outcome: 'unsafe' });
    expect(trial.health.ask('liveness', trial.now)).toMatchObject({
      ok: false,
      why: [
        'no field could be projected for 10000 ms',
        'the field is not projected: it is broken.',
      ],
      numbers: { unprojectedMs: 10_000, unprojectedMsMax: 10_000 },
    });
  });

  it('is kept if one field in between was projected, and not if one tick was only late', () => {
    const trial = new Trial().run(9_000, { outcome: 'unsafe' }).run(200);
    expect(trial.run(9_000, { outcome: 'unsafe' }).ok('liveness')).toBe(true);
    trial.run(200, { outcome: 'late' });
    expect(trial.run(1_200, { outcome: 'unsafe' }).ok('liveness')).toBe(false);
  });
});

describe('readiness', () => {
  it('is lost at once when the node would be exhausted within the hard threshold', () => {
    const trial = new Trial().run(1_000);
    expect(trial.ok('readiness')).toBe(true);
    trial.run(200, { ttfMs: knobs.ttfHardMs - 1 });
    const { ok, why, numbers } = trial.health.ask('readiness', trial.now);
    expect(ok).toBe(false);
    expect(why).toEqual(['memory is exhausted in 19999 ms']);
    expect(numbers).toMatchObject({
      scarcestResource: 'memory',
      ttfMs: 19_999,
      ttfHardMs: 20_000,
    });
  });

  it('is lost when the node stalls on end', () => {
    const trial = new Trial().run(1_000, { stalledTicks: knobs.stallSustained - 1 });
    expect(trial.ok('readiness')).toBe(true);
    expect(trial.run(200, { stalledTicks: knobs.stallSustained }).ok('readiness')).toBe(false);
  });

  it('comes back after recoverMs of calm, not before', () => {
    const trial = new Trial().run(1_000).run(200, { ttfMs: 1_000 });
    expect(trial.run(knobs.recoverMs).ok('readiness')).toBe(false);
    expect(trial.run(200).ok('readiness')).toBe(true);
  });

  it('does not come back between the hard threshold and the safe one', () => {
    const trial = new Trial().run(1_000).run(200, { ttfMs: 1_000 });
    expect(trial.run(60_000, { ttfMs: knobs.ttfSafeMs - 1 }).ok('readiness')).toBe(false);
  });

  it('changes once, however the node swings about the threshold', () => {
    const trial = new Trial().run(1_000);
    let changes = 0;
    for (let before = true, i = 0; i < 300; i++) {
      trial.run(200, { ttfMs: i % 2 === 0 ? 1_000 : far });
      const now = trial.ok('readiness');
      if (now !== before) changes++;
      before = now;
    }
    expect(changes).toBe(1);
  });

  it('is lost while the kernel holds the field for want of a heartbeat', () => {
    const trial = new Trial().run(1_000);
    expect(trial.health.ask('readiness', trial.now + knobs.tau1Ms + 1).ok).toBe(false);
    expect(trial.run(200, { outcome: 'unsafe' }).ok('readiness')).toBe(false);
  });
});
