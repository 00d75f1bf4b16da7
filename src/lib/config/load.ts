// Where knobs come from: flag, environment, file, default, in this order. Each value
// keeps its place, so that a wrong one is found and `nity config` can say who set it.
import { closest, distance } from 'fastest-levenshtein';

import { InputError } from '../errors.js';
import {
  defaultKnobs,
  isKnob,
  knobProblem,
  knobSchema,
  makeKnobs,
  type KnobName,
  type Knobs,
} from './knobs.js';
import { clipped, readKnobsFile, shown } from './knobs-file.js';

export interface KnobSources {
  /** A YAML file of `name: value`. */
  readonly file: string | undefined;
  /** `name=value`, as given on the command line. */
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface KnobOrigin {
  readonly kind: 'flag' | 'environment' | 'file' | 'default';
  /** FILE:LINE:COLUMN, the variable's name, the flag as it was given, or "default". */
  readonly where: string;
}

export interface EffectiveKnobs {
  readonly knobs: Knobs;
  readonly origin: Readonly<Record<KnobName, KnobOrigin>>;
}

interface Setting {
  readonly name: KnobName;
  readonly value: number;
  readonly origin: KnobOrigin;
}

const knobNames = Object.keys(knobSchema) as KnobName[];

/** tickMs is NITY_TICK_MS. */
export function environmentName(knob: string): string {
  return `NITY_${knob.replace(/[A-Z]+/g, (word) => `_${word}`).toUpperCase()}`;
}

/** Every knob with its value and who set it; refuses the first that is wrong, and says where. */
export function effectiveKnobs({ file, flags, environment }: KnobSources): EffectiveKnobs {
  const settings = [
    ...(file === undefined ? [] : fromFile(file)),
    ...fromEnvironment(environment),
    ...flags.map(fromFlag),
  ];
  const origin = Object.fromEntries(
    knobNames.map((name): [string, KnobOrigin] => [name, { kind: 'default', where: 'default' }]),
  ) as Record<KnobName, KnobOrigin>;
  const values: Partial<Record<KnobName, number>> = {};
  for (const setting of settings) {
    values[setting.name] = setting.value;
    origin[setting.name] = setting.origin;
  }
  return { knobs: together(values, origin), origin };
}

export function knobsFrom(sources: KnobSources): Knobs {
  return effectiveKnobs(sources).knobs;
}

/** What the command line alone sets; each is right by itself. */
export function knobsSet(flags: readonly string[]): Readonly<Partial<Record<KnobName, number>>> {
  return Object.fromEntries(flags.map(fromFlag).map(({ name, value }) => [name, value]));
}

/** Each alone is right by now; what they must not be together is told with their places. */
function together(
  values: Readonly<Partial<Record<KnobName, number>>>,
  origin: Readonly<Record<KnobName, KnobOrigin>>,
): Knobs {
  try {
    return makeKnobs(values);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const words = error.message.split(/\W+/);
    const places = knobNames
      .filter((name) => words.includes(name) && origin[name].kind !== 'default')
      .map((name) => origin[name].where);
    if (places.length === 0) throw error;
    throw new InputError(`${places.join(', ')}: ${error.message}`, error.hint, error);
  }
}

function fromFile(path: string): Setting[] {
  return readKnobsFile(path).map(({ name: given, nameAt, value, valueAt }) => {
    const name = known(given, nameAt);
    return {
      name,
      value: checked(name, value, valueAt, 'Correct the file; nothing was changed.'),
      origin: { kind: 'file', where: valueAt },
    };
  });
}

function fromEnvironment(environment: KnobSources['environment']): Setting[] {
  return knobNames.flatMap((name) => {
    const where = environmentName(name);
    const text = environment[where];
    if (text === undefined) return [];
    const hint = `Set it as in ${where}=${defaultKnobs[name]}, or unset it.`;
    const value = checked(name, parseNumber(text), where, hint);
    return [{ name, value, origin: { kind: 'environment', where } }];
  });
}

function fromFlag(flag: string): Setting {
  const where = `--knob ${clipped(flag)}`;
  const equals = flag.indexOf('=');
  if (equals <= 0) {
    throw new InputError(`${where} sets nothing.`, 'Write it as --knob name=value.');
  }
  const name = known(flag.slice(0, equals), where);
  const hint = `Write it as in --knob ${name}=${defaultKnobs[name]}.`;
  const value = checked(name, parseNumber(flag.slice(equals + 1)), where, hint);
  return { name, value, origin: { kind: 'flag', where } };
}

/** Number() alone takes "", "0x10" and " 5 " too; what is no plain decimal stays text. */
function parseNumber(text: string): number | string {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
}

function known(name: string, where: string): KnobName {
  if (isKnob(name)) return name;
  throw new InputError(`${where}: there is no knob ${clipped(name)}.`, suggestion(name));
}

/** tick-ms and TICKMS are tickMs misspelt, too. */
function suggestion(name: string): string {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const given = plain(name).slice(0, 40);
  const nearest = closest(given, knobNames.map(plain));
  const found = knobNames.find((knob) => plain(knob) === nearest);
  const meant =
    found !== undefined && distance(given, nearest) <= Math.max(1, nearest.length / 3)
      ? `Did you mean ${found}? `
      : '';
  return `${meant}\`nity config\` lists them all.`;
}

function checked(name: KnobName, value: unknown, where: string, hint: string): number {
  const problem = knobProblem(name, value);
  if (problem === undefined) return value as number;
  const { min, max, unit } = knobSchema[name];
  const range = `from ${min} to ${max} (${unit})`;
  const expected = problem.includes(range) ? problem : `${problem} ${range}`;
  throw new InputError(`${where}: ${expected}, not ${shown(value)}.`, hint);
}
