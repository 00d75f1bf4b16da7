import { Flags } from '@oclif/core';

import { common, NityCommand, tableFlags, type Answer } from '../../lib/cli/command.js';
import { knobSchema, type KnobName } from '../../lib/config/knobs.js';
import { effectiveKnobs, environmentName, type KnobOrigin } from '../../lib/config/load.js';
import { settingsOf, type Setting } from '../../lib/cli/settings.js';
import { renderTable } from '../../lib/cli/table.js';

interface Row {
  readonly name: string;
  readonly value: number;
  readonly default: number;
  readonly unit: string;
  readonly min: number;
  readonly max: number;
  readonly environment: string;
  readonly origin: KnobOrigin;
  readonly about: string;
}

interface Config extends Answer {
  readonly knobs: readonly Row[];
  readonly settings: readonly Setting[];
}

export default class ConfigCommand extends NityCommand<typeof ConfigCommand> {
  static override summary =
    'Each knob and setting, and who set it: flag, environment, file or default.';
  static override description =
    'The knobs are what an agent would take if it were started with the same flags and the same ' +
    'environment; the settings are the flags that a variable sets for every command that takes them. ' +
    'What a running agent has taken is in `nity explain ROUTE --json`.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --changed',
    '<%= config.bin %> <%= command.id %> --config knobs.yaml --knob tickMs=100 -o wide',
  ];
  static override flags = {
    color: common.color,
    json: tableFlags.json,
    'no-headers': tableFlags['no-headers'],
    output: tableFlags.output,
    config: Flags.string({ summary: 'a YAML file of knobs', env: 'NITY_CONFIG' }),
    knob: Flags.string({ summary: 'set a knob, as name=value', multiple: true, default: [] }),
    changed: Flags.boolean({ summary: 'only those that somebody set' }),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags } = this;
    const { knobs, origin } = effectiveKnobs({
      file: flags.config,
      flags: flags.knob,
      environment: process.env,
    });
    const rows = (Object.keys(knobSchema) as KnobName[])
      .map((name): Row => {
        const { default: byDefault, unit, min, max, about } = knobSchema[name];
        return {
          name,
          value: knobs[name],
          default: byDefault,
          ...{ unit, min, max },
          environment: environmentName(name),
          origin: origin[name],
          about,
        };
      })
      .filter(({ origin: { kind } }) => !flags.changed || kind !== 'default');
    const settings = settingsOf(this.config.commands, process.env).filter(
      ({ from }) => !flags.changed || from !== 'default',
    );
    const options = { headers: !flags['no-headers'], wide: flags.output === 'wide' };
    this.answer<Config>({ schemaVersion: 1, knobs: rows, settings }, () => {
      const knobTable = renderTable(
        rows,
        [
          { head: 'KNOB', cell: ({ name }) => name },
          { head: 'VALUE', align: 'right', cell: ({ value }) => value },
          { head: 'UNIT', cell: ({ unit }) => unit },
          { head: 'DEFAULT', align: 'right', wide: true, cell: (row) => row.default },
          { head: 'FROM', cell: ({ origin: { where } }) => where },
          { head: 'SETS', wide: true, cell: ({ about }) => about },
        ],
        options,
      );
      const settingTable = renderTable(
        settings,
        [
          { head: 'SETTING', cell: ({ flag }) => flag },
          { head: 'VALUE', cell: ({ value }) => value },
          {
            head: 'FROM',
            cell: ({ from, environment }) => (from === 'default' ? from : environment),
          },
          { head: 'VARIABLE', wide: true, cell: ({ environment }) => environment },
        ],
        options,
      );
      const tables = settings.length === 0 ? [knobTable] : [knobTable, settingTable];
      return tables.filter((table) => table !== '').join('\n\n');
    });
  }
}
