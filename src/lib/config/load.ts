// Where knobs come from: flag, environment, file, default, in this order.
import { readFileSync } from 'node:fs';
import { isMap, LineCounter, parseDocument, type Node } from 'yaml';

import { InputError } from '../errors.js';
import { isKnob, knobProblem, knobSchema, makeKnobs, type Knobs } from './knobs.js';

export interface KnobSources {
  /** A YAML file of `name: value`. */
  readonly file: string | undefined;
  /** `name=value`, as given on the command line. */
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** tickMs is NITY_TICK_MS. */
export function environmentName(knob: string): string {
  return `NITY_${knob.replace(/[A-Z]+/g, (word) => `_${word}`).toUpperCase()}`;
}

function fromFile(path: string): Record<string, unknown> {
  const lines = new LineCounter();
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(
      `The knobs file ${path} cannot be read.`,
      'Name a readable file with --config.',
      error,
    );
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fail = (offset: number, what: string): never => {
    const { line, col } = lines.linePos(offset);
    throw new InputError(
      `${path}:${line}:${col}: ${what}.`,
      'Correct the file; nothing was changed.',
    );
  };
  const [broken] = document.errors;
  if (broken !== undefined) fail(broken.pos[0], broken.message);
  const { contents } = document;
  if (contents === null) return {};
  if (!isMap(contents)) return fail(0, 'expected a map from knob to value');
  return Object.fromEntries(
    contents.items.map(({ key, value }) => {
      const name = String(key);
      const at = (key as Node).range?.[0] ?? 0;
      if (!isKnob(name)) return fail(at, `there is no knob ${name}`);
      const given: unknown = (value as { toJSON(): unknown } | null)?.toJSON() ?? null;
      const problem = knobProblem(name, given);
      if (problem !== undefined) return fail((value as Node | null)?.range?.[0] ?? at, problem);
      return [name, given];
    }),
  );
}

function fromFlags(flags: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    flags.map((flag) => {
      const [name = '', value = ''] = flag.split('=', 2);
      if (value === '') {
        throw new InputError(`--knob ${flag} sets nothing.`, 'Write it as --knob name=value.');
      }
      return [name, Number(value)];
    }),
  );
}

function fromEnvironment(environment: KnobSources['environment']): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(knobSchema).flatMap((name) => {
      const value = environment[environmentName(name)];
      return value === undefined ? [] : [[name, Number(value)]];
    }),
  );
}

export function knobsFrom({ file, flags, environment }: KnobSources): Knobs {
  return makeKnobs({
    ...(file === undefined ? {} : fromFile(file)),
    ...fromEnvironment(environment),
    ...fromFlags(flags),
  });
}
