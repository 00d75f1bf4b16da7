import { Args } from '@oclif/core';

import { common, jsonFlag, NityCommand, type Answer } from '../../lib/cli/command.js';
import { effectiveKnobs } from '../../lib/config/load.js';

interface Checked extends Answer {
  readonly file: string;
  readonly set: Readonly<Record<string, number>>;
}

export default class ConfigCheck extends NityCommand<typeof ConfigCheck> {
  static override summary = 'Whether a file of knobs is right, before an agent is given it.';
  static override description =
    'The first thing wrong is told with its line and column, and ends it with 2. The environment ' +
    'is left out: it is the file alone that is checked.';
  static override examples = ['<%= config.bin %> <%= command.id %> knobs.yaml'];
  static override args = { file: Args.string({ required: true, description: 'a file of knobs' }) };
  static override flags = { color: common.color, ...jsonFlag };

  async run(): Promise<void> {
    await Promise.resolve();
    const { file } = this.args;
    const { knobs, origin } = effectiveKnobs({ file, flags: [], environment: {} });
    const set = Object.fromEntries(
      Object.entries(knobs).filter(
        ([name]) => origin[name as keyof typeof origin].kind !== 'default',
      ),
    );
    this.answer<Checked>({ schemaVersion: 1, file, set }, render);
  }
}

function render({ file, set }: Checked): string {
  const count = Object.keys(set).length;
  return `${file} is right: it sets ${count} knob${count === 1 ? '' : 's'}`;
}
