// The trace that is kept of each format and of each law: every kind of signal, missing
// ones among them, and every kind of record. Always the same, so that its bytes can be
// compared. `npx tsx test/recorder/golden.ts` writes that of today.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { makeKnobs } from '../../src/lib/config/knobs.js';
import { lawVersion } from '../../src/lib/field/law.js';
import { nothingSensed, type NodeSignals } from '../../src/lib/field/signals.js';
import type { RouteSignals } from '../../src/lib/field/types.js';
import { formatVersion } from '../../src/lib/recorder/frame.js';
import { TraceWriter, type RecordableTick } from '../../src/lib/recorder/writer.js';
import { idle, inputsOf, routeOf } from '../field/world.js';
import { about, Ticker } from './traces.js';

const calm = { kind: 'read', value: { some: 0.125, full: 0 } } as const;
const stallsOf = (cpu: number) => ({
  cpu: { kind: 'read', value: { some: cpu, full: 0 } } as const,
  memory: calm,
  io: { kind: 'missing', why: 'io.pressure is not there' } as const,
});

function nodeAt(tick: number): NodeSignals {
  const bare = nothingSensed('this is a golden trace');
  const used = 8e9 + (tick > 20 ? (tick - 20) * 2e7 : 0);
  return {
    ...bare,
    stalls: stallsOf(tick / 64),
    usage: { ...bare.usage, memory: { kind: 'read', value: { used, limit: 1e10 } } },
    cgroups: new Map([['/pod', stallsOf(0.25)]]),
    loopLagMs: tick === 5 ? Infinity : tick % 4,
  };
}

function cart(tick: number, slots: ReadonlyMap<string, number>): RouteSignals {
  const ids = tick < 30 ? ['a', 'b', 'c'] : ['a', 'b', 'c', 'd'];
  return routeOf(
    ids.map((id) => {
      const broken = id === 'c' && tick >= 8 && tick < 14;
      return {
        ...idle(id, slots.get(id) ?? 0),
        picks: 10,
        connects: 10,
        failures: broken ? 10 : 0,
        consecutiveFailures: broken ? 10 : 0,
        openMean: id === 'b' ? null : 0.75,
        connectUs: broken ? null : 62.5,
        firstByte: broken ? [] : [{ us: id === 'a' ? 4000 : 4500.5, count: 9 }],
        waiting: {
          count: id === 'a' ? 1 : 0,
          ageMs: 1.5,
          answeredSince: true,
        },
        stalls: id === 'a' ? stallsOf(0.5) : null,
        app: id === 'b' ? { latencyP95Ms: 4.25, errorRate: null, queueDepth: 2 } : null,
      };
    }),
    { name: 'shop/cart:http', override: tick > 40 && tick < 44 ? 'soft' : null, refused: tick % 2 },
  );
}

const goldenTicks = 60;
/** Defaults that the law does not read, as they were when the trace was written. */
const knobsThen = { sampleEvery: 64 };

export const goldenDirectory = join(import.meta.dirname, '../fixtures/traces');
export const goldenName = `format-${formatVersion.major}.${formatVersion.minor}-law-${lawVersion}.trace`;

export function golden(): { readonly bytes: Buffer; readonly ticks: readonly RecordableTick[] } {
  const ticker = new Ticker();
  const writer = new TraceWriter(about);
  const parts = [writer.begin(ticker.atNs, 1_700_000_000_000)];
  const ticks: RecordableTick[] = [];
  const knobs = makeKnobs(knobsThen);
  const tuned = makeKnobs({ ...knobsThen, viscosity: 0.25 });
  const slots = new Map<string, number>();
  for (let i = 0; i < goldenTicks; i++) {
    const quiet = routeOf([idle('x', 32), idle('y', 32)], { name: 'shop/quiet:http' });
    const inputs = inputsOf([cart(i, slots), quiet], {
      node: nodeAt(i),
      dtMs: 200.5,
      held: i > 16 && i < 19,
    });
    const made = ticker.tick(inputs, i < 25 ? knobs : tuned);
    for (const { id, slots: count } of made.field.routes[0]?.backends ?? []) slots.set(id, count);
    const tick: RecordableTick = inputs.held
      ? {
          ...made,
          tookMs: 1.25,
          outcome: { kind: 'held' },
          reasons: made.reasons.filter(({ change }) => change.of !== 'slots'),
        }
      : made;
    if (i === 50) {
      const { sequence } = tick;
      writer.lose({ from: sequence, to: sequence, ticks: 1, why: 'the disk was full' });
      continue;
    }
    ticks.push(tick);
    parts.push(writer.tick(tick));
  }
  return { bytes: Buffer.concat(parts), ticks };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(join(goldenDirectory, goldenName), golden().bytes);
}
