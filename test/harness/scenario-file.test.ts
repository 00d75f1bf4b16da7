// A scenario that is wrong names its place, what was expected, and changes nothing.
import { describe, expect, it } from 'vitest';

import { parseScenario } from '../../src/lib/harness/scenario.js';
import { describeProblem } from '../../src/lib/yaml-input.js';
import { troubled } from './worlds.js';

function problems(text: string): string[] {
  const read = parseScenario(text, 'dir/world.yaml');
  return read.ok ? [] : read.problems.map(describeProblem);
}

describe('a scenario file', () => {
  it('is named after itself, with durations in milliseconds and every default', () => {
    const read = parseScenario(troubled, 'dir/world.yaml');
    expect(read.ok && read.scenario).toMatchObject({
      name: 'world',
      duration: 24_000,
      nodes: 1,
      services: 1,
      clients: { rate: 400, timeout: 1000, retries: 0, arrivals: 'poisson' },
    });
  });

  it.each([
    [
      'a word for a duration',
      ['duration: 24s', 'duration: soon'],
      /world\.yaml:4:11.*expected a duration/,
    ],
    ['a fault that there is not', ['kind: refuse', 'kind: explode'], /world\.yaml:9:\d+/],
    [
      'a backend that there is not',
      ['backends: [0]', 'backends: [9]'],
      /names a backend that there is not/,
    ],
    [
      'a fault that ends before it begins',
      ['from: 3s, to: 6s', 'from: 6s, to: 3s'],
      /must end after it begins/,
    ],
    [
      'both ways to be slow, or none',
      [', factor: 20', ''],
      /takes either a factor or a service time/,
    ],
    ['a limit that there is not', ['measure: errors', 'measure: joy'], /expected a limit on/],
    ['a field that there is not', ['title:', 'titel:'], /titel|title/],
    ['more requests than a run may have', ['rate: 400', 'rate: 9000000'], /more than/],
  ])('names %s', (_what, [from = '', to = ''], expected) => {
    expect(problems(troubled.replace(from, to)).join('\n')).toMatch(expected);
  });

  it('names a knob that there is not, and one beyond its range', () => {
    expect(problems(`${troubled}knobs: { viscous: 1 }\n`).join()).toMatch(/no knob viscous/);
    expect(problems(`${troubled}knobs: { viscosity: 9 }\n`).join()).toMatch(/viscosity/);
  });
});
