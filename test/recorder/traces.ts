// Traces for tests: a small world is run, and each of its ticks recorded.
import { lawVersion } from '../../src/lib/field/law.js';
import { step } from '../../src/lib/field/step.js';
import type { FieldState, Inputs } from '../../src/lib/field/types.js';
import { defaultKnobs, type Knobs } from '../../src/lib/config/knobs.js';
import { freshState } from '../../src/lib/field/step.js';
import type { TraceAbout } from '../../src/lib/recorder/records.js';
import { TraceWriter, type RecordableTick } from '../../src/lib/recorder/writer.js';
import { World, type WorldOptions } from '../field/world.js';

export const about: TraceAbout = {
  nity: '0.0.0-test',
  law: lawVersion,
  build: 'test',
  node: 'test',
  kernel: 'test',
  host: 'test',
  phase: 0,
  run: 'a-run-of-a-test',
};

/** Feeds inputs to the law, as an agent would. */
export class Ticker {
  state: FieldState = freshState;
  sequence = 0;
  atNs = 1_000_000_000n;

  tick(inputs: Inputs, knobs: Knobs = defaultKnobs): RecordableTick {
    this.sequence++;
    this.atNs += 200_500_000n;
    const before = this.state;
    const result = step(before, inputs, knobs);
    this.state = result.state;
    const { sequence, atNs } = this;
    return { sequence, atNs, knobs, before, inputs, outcome: { kind: 'projected' }, ...result };
  }
}

/** The ticks of a world to which `happens` may do something before each. */
export function ticksOf(
  count: number,
  options: WorldOptions = {},
  happens: (world: World, tick: number) => void = () => undefined,
): RecordableTick[] {
  const world = new World(options);
  return Array.from({ length: count }, (_, i): RecordableTick => {
    happens(world, i);
    const before = world.state;
    world.tick();
    const { inputs, last, knobs, atMs } = world;
    if (inputs === undefined || last === undefined) throw new Error('the world stands still');
    const atNs = BigInt(atMs) * 1_000_000n;
    return {
      sequence: i + 1,
      atNs,
      knobs,
      before,
      inputs,
      outcome: { kind: 'projected' },
      ...last,
    };
  });
}

export function traceOf(ticks: readonly RecordableTick[]): Buffer {
  const writer = new TraceWriter(about);
  const begin = writer.begin(ticks[0]?.atNs ?? 0n, 1_700_000_000_000);
  return Buffer.concat([begin, ...ticks.map((tick) => writer.tick(tick))]);
}
