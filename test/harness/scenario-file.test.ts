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
      clients: [{ speaks: 'request', rate: 400, timeout: 1000, retries: 0, arrivals: 'poisson' }],
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
    [
      'a protocol that there is not',
      ['clients: { rate', 'clients: { speaks: latin, rate'],
      /world\.yaml:\d+:\d+.*expected one of request, late/,
    ],
    [
      'what a protocol does not have',
      ['clients: { rate', 'clients: { speaks: closes, think: 1s, rate'],
      /think: unknown key/,
    ],
    [
      'clients that there are not',
      ['atMost: 1%', 'clients: others, atMost: 1%'],
      /names clients that there are not; the groups are clients/,
    ],
    [
      'a share without a bound',
      ['measure: errors, atMost: 1%', 'measure: fairShare'],
      /takes at least one of atLeast and atMost/,
    ],
    [
      'a share that is looked at for less than a window',
      ['measure: errors, atMost: 1%', 'measure: fairShare, from: 20s, atMost: 2'],
      /looks at less than one window/,
    ],
    ['more requests than a run may have', ['rate: 400', 'rate: 9000000'], /more than/],
  ])('names %s', (_what, [from = '', to = ''], expected) => {
    expect(problems(troubled.replace(from, to)).join('\n')).toMatch(expected);
  });

  it('takes one group of clients or several, which are clients of their own', () => {
    const several = troubled.replace(
      /clients:.*/,
      'clients: [{ name: web, rate: 10, timeout: 1s }, { name: web, rate: 10, timeout: 1s }]',
    );
    expect(problems(several).join()).toMatch(/clients\[1\]\.name: web is taken/);
    const read = parseScenario(several.replace('web', 'app'), 'world.yaml');
    expect(read.ok && read.scenario.clients.map(({ name }) => name)).toEqual(['app', 'web']);
  });

  it('names a knob that there is not, and one beyond its range', () => {
    expect(problems(`${troubled}knobs: { viscous: 1 }\n`).join()).toMatch(/no knob viscous/);
    expect(problems(`${troubled}knobs: { viscosity: 9 }\n`).join()).toMatch(/viscosity/);
  });
});
