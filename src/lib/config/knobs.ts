// The knobs: one schema with a unit, a range, a default and a sentence for each.
// Whatever reads, checks, prints or documents a knob does so from this list.
import { InputError } from '../errors.js';

interface NumberKnob {
  readonly kind: 'number' | 'integer';
  readonly unit: string;
  readonly min: number;
  readonly max: number;
  readonly default: number;
  readonly about: string;
}

function number(
  unit: string,
  [min, max]: readonly [number, number],
  byDefault: number,
  about: string,
): NumberKnob {
  return { kind: 'number', unit, min, max, default: byDefault, about };
}

function integer(
  unit: string,
  range: readonly [number, number],
  byDefault: number,
  about: string,
): NumberKnob {
  return { ...number(unit, range, byDefault, about), kind: 'integer' };
}

export const knobSchema = {
  tickMs: integer(
    'ms',
    [20, 10_000],
    200,
    'How often the agent reads signals and projects a field.',
  ),
  tau1Ms: integer(
    'ms',
    [100, 600_000],
    3_000,
    'Heartbeat age at which the kernel holds the field.',
  ),
  tau2Ms: integer('ms', [200, 3_600_000], 15_000, 'Heartbeat age at which the kernel falls back.'),
  slotsPerRoute: integer('slots', [64, 65_536], 64, 'Fewest slots of a route; a power of two.'),
  latencyMs: integer('ms', [100, 600_000], 1_000, 'Time constant of the moving averages.'),
  epsilon: number(
    'pressure',
    [0.001, 10],
    0.1,
    'Keeps the weight of a backend without pressure finite.',
  ),
  weightQueue: number(
    '1',
    [0, 10],
    1,
    'Weight of open connections per slot share in the pressure.',
  ),
  weightLatency: number('1', [0, 10], 0.25, 'Weight of connect latency in the pressure.'),
  weightErrors: number('1', [0, 100], 2, 'Weight of the failure ratio in the pressure.'),
  errorReference: number('ratio', [0.001, 1], 0.05, 'Failure ratio that counts as pressure 1.'),
  errorMax: number('pressure', [1, 1_000], 20, 'Most that failures can add to the pressure.'),
  isolateAfter: integer('failures', [1, 1_000], 2, 'Consecutive failures that isolate a backend.'),
  viscosity: number(
    'ratio',
    [0.001, 1],
    0.1,
    'Most of its fair share that a backend moves in a tick.',
  ),
  deadBand: number(
    'ratio',
    [0, 1],
    0.3,
    'Part of its fair share by which a backend must be off to move.',
  ),
  settleBand: number('ratio', [0, 1], 0.08, 'Part of its fair share at which moving stops again.'),
  floorShare: number('ratio', [0, 1], 0.05, 'Least part of its fair share that a backend keeps.'),
  shrinkage: integer(
    'connects',
    [0, 10_000],
    20,
    'Samples at which a backend is believed by half.',
  ),
  isolationMs: integer(
    'ms',
    [100, 600_000],
    1_000,
    'How long a backend stays isolated the first time.',
  ),
  isolationMaxMs: integer('ms', [100, 3_600_000], 30_000, 'Longest time that it stays isolated.'),
  suspectFailures: integer(
    'failures',
    [0, 1_000],
    2,
    'Consecutive failures that make a suspect; 0 never.',
  ),
  suspectMs: integer(
    'ms',
    [10, 600_000],
    1_000,
    'How long the kernel passes over a suspect at first.',
  ),
  suspectDoublings: integer('1', [0, 20], 1, 'How often that time may double.'),
  sampleEvery: integer(
    'decisions',
    [1, 1 << 30],
    64,
    'One decision in so many is an event; a power of two.',
  ),
} as const satisfies Record<string, NumberKnob>;

export type KnobName = keyof typeof knobSchema;
export type Knobs = Readonly<Record<KnobName, number>>;

const powersOfTwo: readonly KnobName[] = ['slotsPerRoute', 'sampleEvery'];

export function isKnob(name: string): name is KnobName {
  return Object.hasOwn(knobSchema, name);
}

/** What is wrong with a value of a knob, as a phrase; undefined if nothing is. */
export function knobProblem(name: KnobName, value: unknown): string | undefined {
  const { kind, min, max, unit } = knobSchema[name];
  const range = `${name} must be ${kind === 'integer' ? 'a whole number' : 'a number'} from ${min} to ${max} (${unit})`;
  if (typeof value !== 'number' || !Number.isFinite(value)) return range;
  if (kind === 'integer' && !Number.isInteger(value)) return range;
  if (value < min || value > max) return range;
  if (powersOfTwo.includes(name) && !Number.isInteger(Math.log2(value))) {
    return `${name} must be a power of two`;
  }
  return undefined;
}

export const defaultKnobs = Object.fromEntries(
  Object.entries(knobSchema).map(([name, knob]) => [name, knob.default]),
) as Knobs;

/** The defaults with some knobs set; refuses the first that is unknown or out of range. */
export function makeKnobs(given: Readonly<Record<string, unknown>>): Knobs {
  for (const [name, value] of Object.entries(given)) {
    if (!isKnob(name)) {
      throw new InputError(
        `There is no knob ${name}.`,
        `The knobs are ${Object.keys(knobSchema).join(', ')}.`,
      );
    }
    const problem = knobProblem(name, value);
    if (problem !== undefined)
      throw new InputError(`${problem}, not ${String(value)}.`, 'Correct it and try again.');
  }
  const knobs = { ...defaultKnobs, ...given } as Knobs;
  if (knobs.tau2Ms <= knobs.tau1Ms) {
    throw new InputError(
      `tau2Ms (${knobs.tau2Ms}) must be greater than tau1Ms (${knobs.tau1Ms}).`,
      'HOLD comes before FALLBACK: raise tau2Ms or lower tau1Ms.',
    );
  }
  return knobs;
}
