// A scenario from its file, or one error that names every problem with its place.
import { readFileSync } from 'node:fs';

import { errnoOf, InputError } from '../errors.js';
import { describeProblem } from '../yaml-input.js';
import { parseScenario, type Scenario } from './scenario.js';

export interface ScenarioSource {
  readonly text: string;
  readonly scenario: Scenario;
}

export function readScenario(path: string): ScenarioSource {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(
      `${path} could not be read (${errnoOf(error) ?? 'unknown'}).`,
      'Name a scenario; docs/guide/scenarios.md says how one is written.',
      error,
    );
  }
  const read = parseScenario(text, path);
  if (read.ok) return { text, scenario: read.scenario };
  throw new InputError(
    read.problems.map(describeProblem).join('\n'),
    'Nothing was run. docs/guide/scenarios.md explains every field.',
  );
}
