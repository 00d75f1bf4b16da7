import { Args } from '@oclif/core';

import { askAgent, type ExplainedRoute, type Report } from '../lib/agent/report.js';
import { common, NityCommand, tableFlags, type Answer } from '../lib/cli/command.js';
import { renderExplanation } from '../lib/cli/explain-view.js';
import { routeNamed } from '../lib/dataplane/override.js';
import { NoAgentError } from '../lib/errors.js';

interface Explanation extends Answer, Pick<Report, 'sequence' | 'agoMs' | 'tookMs' | 'outcome'> {
  readonly route: ExplainedRoute;
  readonly node: Report['node'];
  readonly knobs: Report['knobs'];
}

export default class Explain extends NityCommand<typeof Explain> {
  static override summary = 'Why a route’s field is as it is, and what would change it.';
  static override description =
    'Asks the running agent: the terms of each backend’s pressure, weights and targets, what ' +
    'hysteresis, viscosity and guard did, the valve, the last changes with their numbers, and ' +
    'what would have to happen for the next.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> shop/cart:http',
    '<%= config.bin %> <%= command.id %> 127.96.0.10:80 --json',
  ];
  static override args = {
    route: Args.string({ required: true, description: 'a route, by name or address' }),
  };
  static override flags = {
    ...common,
    json: tableFlags.json,
    'no-headers': tableFlags['no-headers'],
    output: tableFlags.output,
  };

  async run(): Promise<void> {
    const { flags, args } = this;
    const pinPath = flags['pin-path'];
    const name = routeNamed(pinPath, args.route);
    const report = await askAgent(pinPath, name);
    const route = report?.routes[0];
    if (report === null || route === undefined) throw new NoAgentError(pinPath);
    const { sequence, agoMs, tookMs, outcome, node, knobs } = report;
    this.answer<Explanation>(
      { schemaVersion: 1, sequence, agoMs, tookMs, outcome, route, node, knobs },
      () =>
        renderExplanation(report, route, {
          headers: !flags['no-headers'],
          wide: flags.output === 'wide',
        }),
    );
  }
}
