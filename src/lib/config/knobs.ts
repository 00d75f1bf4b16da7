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
  // The tick, and what the kernel judges the agent and the backends by.
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
  suspectFailures: integer(
    'failures',
    [0, 1_000],
    2,
    'Consecutive failures that make a suspect: for one client if it alone saw them, else for all; 0 never.',
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
    1,
    'One decision in so many of a route may be shown by `nity trace`; a power of two.',
  ),
  latencySamples: integer(
    'flows/s',
    [1, 1_000_000],
    100,
    'Flows a second and backend whose first-byte latency is measured; of more, a part is.',
  ),

  enforcePercent: integer(
    '%',
    [0, 100],
    100,
    'Of a hundred connects, those on which what is judged is acted; 0 only observes.',
  ),

  // Estimates.
  latencyMs: integer(
    'ms',
    [100, 600_000],
    5_000,
    'Time constant of the moving averages and counts; of counts up to 20 times longer where there are few.',
  ),
  referenceMs: integer(
    'ms',
    [1_000, 3_600_000],
    60_000,
    'Time constant of what counts as normal: of a route, and of each backend.',
  ),
  shrinkage: integer('samples', [0, 10_000], 20, 'Samples at which a backend is believed by half.'),
  appSummaryMs: integer('ms', [100, 600_000], 2_000, 'How long an application’s word is believed.'),

  // Pressure.
  weightQueue: number(
    '1',
    [0, 10],
    0.5,
    'Weight of the requests under way, beyond the peers’, in the pressure.',
  ),
  weightLatency: number(
    '1',
    [0, 10],
    1.5,
    'Weight of first-byte latency, beyond the peers’, in the pressure.',
  ),
  weightPath: number('1', [0, 10], 0.1, 'Weight of connect latency in the pressure.'),
  weightNode: number('1', [0, 10], 1, 'Weight of a local backend’s own stalls in the pressure.'),
  weightErrors: number(
    '1',
    [0, 100],
    0.5,
    'Weight of the failure ratio, beyond the peers’, in the pressure.',
  ),
  queueGate: number(
    '1',
    [1, 100],
    2,
    'Requests under way per slot, relative to the peers, from which they count.',
  ),
  noise: number('ratio', [0, 1], 0.1, 'Deviation of a latency from normal that is none.'),
  errorReference: number(
    'ratio',
    [0.001, 1],
    0.05,
    'Failure ratio beyond the peers’ that counts as pressure 1.',
  ),
  errorMax: number('pressure', [1, 1_000], 20, 'Most that the error term can be.'),
  errorGate: number(
    'ratio',
    [0.001, 1],
    0.05,
    'Failure ratio (η) beyond the peers’ above which the gate’s pressure is added.',
  ),
  errorGatePressure: number('pressure', [0, 1_000], 4, 'Pressure (K_E) that the error gate adds.'),
  epsilon: number(
    'pressure',
    [0.001, 10],
    0.1,
    'Keeps the weight of a backend without pressure finite.',
  ),

  // Slots.
  slotsPerRoute: integer('slots', [64, 65_536], 64, 'Fewest slots of a route; a power of two.'),
  viscosity: number(
    'ratio',
    [0.001, 1],
    0.1,
    'Most of its fair share that a backend moves in a tick.',
  ),
  deadBand: number(
    'ratio',
    [0, 1],
    0.4,
    'Part of its fair share by which a backend must be off to move.',
  ),
  settleBand: number(
    'ratio',
    [0, 1],
    0.08,
    'Part of its fair share, or one slot, at which moving stops again.',
  ),
  offMs: integer(
    'ms',
    [0, 600_000],
    3_000,
    'How long a backend may be off by more than the settle band before it moves all the same.',
  ),
  floorShare: number('ratio', [0, 1], 0.05, 'Least part of its fair share that a backend keeps.'),
  skewTolerance: number(
    'ratio',
    [0, 1],
    0.02,
    'Growth of the skew (ε_skew) in a tick that tightens the guard.',
  ),
  guardShrink: number('1', [1, 100], 2, 'By what the guard divides the viscosity’s limit.'),

  // Isolation.
  isolateAfter: integer(
    'failures',
    [1, 1_000],
    2,
    'Consecutive failed connects that isolate a backend, unless another client speaks for it.',
  ),
  isolateErrors: number(
    'ratio',
    [0.01, 1],
    0.3,
    'Failure ratio, beyond what the peers show, above which outcomes speak for isolation.',
  ),
  isolateSlower: number(
    '1',
    [1.5, 1_000],
    4,
    'How many times slower than normal, which is at least the peers’, an answer must be to count as slow.',
  ),
  isolateEvidence: number(
    'bits',
    [1, 1_000],
    26,
    'By how many bits a backend’s outcomes must be likelier if it is at fault than if it is like its peers, to isolate it.',
  ),
  silenceMs: integer(
    'ms',
    [10, 600_000],
    200,
    'Least age from which an unanswered request may count as silence.',
  ),
  silenceFactor: number(
    '1',
    [2, 10_000],
    4,
    'How many times the peers’ slowest answer of late it must be old for that.',
  ),
  isolationMs: integer(
    'ms',
    [100, 600_000],
    2_000,
    'How long a backend stays isolated before its first probe, where a failed probe is cheap.',
  ),
  isolationMaxMs: integer(
    'ms',
    [100, 3_600_000],
    4_000,
    'Longest time between two probes, but for silence.',
  ),
  sacrificeMs: integer(
    'ms',
    [100, 3_600_000],
    12_000,
    'How long a backend that did not answer stays isolated before its first probe: a failed probe costs a client its request.',
  ),
  slowStartMs: integer(
    'ms',
    [0, 600_000],
    2_000,
    'How long a backend that returns takes to be offered its full share.',
  ),

  // Exhaustion, stall and admission.
  ttfWindowMs: integer('ms', [200, 600_000], 5_000, 'Window (Δ) over which a growth is measured.'),
  exhaustionFloor: number(
    'ratio',
    [0, 1],
    0.7,
    'Part of its limit that a resource must have used before its time to failure counts.',
  ),
  ttfSafeMs: integer(
    'ms',
    [1_000, 3_600_000],
    120_000,
    'Time to failure below which the valve is soft.',
  ),
  ttfHardMs: integer('ms', [100, 3_600_000], 20_000, 'Time to failure below which it is hard.'),
  stallCpu: number(
    'ratio',
    [0.01, 1],
    1,
    'Share of time in which tasks waited for CPU above which the node stalls; 1 never.',
  ),
  stallMemory: number(
    'ratio',
    [0.01, 1],
    0.25,
    'Share of time in which all tasks waited for memory above which the node stalls.',
  ),
  stallIo: number(
    'ratio',
    [0.01, 1],
    0.6,
    'Share of time in which all tasks waited for storage above which the node stalls.',
  ),
  stallSamples: integer('ticks', [1, 1_000], 10, 'Ticks (m) over which a stall is watched.'),
  stallSustained: integer('ticks', [1, 1_000], 8, 'Ticks of these (p) that make it sustained.'),
  conductanceMin: number(
    'ratio',
    [0, 1],
    0.25,
    'Conductance (G), relative to a healthy route’s, below which its regime is transition, and at half of it crisis.',
  ),
  recoverMs: integer('ms', [0, 3_600_000], 20_000, 'Calm that a valve needs to open by one mode.'),
  dwellMs: integer('ms', [0, 3_600_000], 2_000, 'Least time between two changes of a valve.'),
  budgetHeadroom: number(
    '1',
    [1, 10],
    1.5,
    'What a soft valve admits, as a multiple of the measured goodput, once its cause is gone.',
  ),
  budgetPressed: number('1', [0.1, 1], 0.9, 'The same while its cause lasts.'),
  budgetMin: number('connects/s', [0.1, 1_000_000], 10, 'Least that a soft valve admits.'),
  debtRepay: number(
    'ratio',
    [0.01, 10],
    0.5,
    'Part of the goodput by which the debt of refused connects is repaid.',
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

/** Knobs that only make sense in this order. */
const orders: readonly (readonly [KnobName, KnobName, string])[] = [
  ['tau1Ms', 'tau2Ms', 'HOLD comes before FALLBACK'],
  ['ttfHardMs', 'ttfSafeMs', 'Soft comes before hard'],
];

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
  for (const [lesser, greater, why] of orders) {
    if (knobs[lesser] < knobs[greater]) continue;
    throw new InputError(
      `${greater} (${knobs[greater]}) must be greater than ${lesser} (${knobs[lesser]}).`,
      `${why}: raise ${greater} or lower ${lesser}.`,
    );
  }
  return knobs;
}
