// Small scenarios that tests run whole.
import { readFileSync } from 'node:fs';

import { parseScenario, type Scenario } from '../../src/lib/harness/scenario.js';
import { describeProblem } from '../../src/lib/yaml-input.js';

export function scenarioOf(text: string, name = 'small'): Scenario {
  const read = parseScenario(text, `${name}.yaml`);
  if (!read.ok) throw new Error(read.problems.map(describeProblem).join('\n'));
  return read.scenario;
}

export function shipped(name: string): Scenario {
  return scenarioOf(readFileSync(`test/scenarios/${name}.yaml`, 'utf8'), name);
}

/** Four backends of 4 ms, of which one refuses and then one is slow. */
export const troubled = `
title: A small world with two troubles
about: Four backends; one refuses, then another is slow.
duration: 24s
backends:
  - { name: pod, count: 4, service: { lognormal: { median: 4ms, sigma: 0.3 } }, path: 0.2ms }
clients: { rate: 400, timeout: 1s }
faults:
  - { kind: refuse, backends: [0], from: 3s, to: 6s }
  - { kind: slow, backends: [1], from: 8s, to: 11s, factor: 20 }
limits:
  - { measure: errors, atMost: 1% }
`;
