import { common, jsonFlag, NityCommand, type Answer } from '../lib/cli/command.js';
import { versionsHere, type Versions } from '../lib/versions.js';

interface Version extends Answer, Versions {}

export default class VersionCommand extends NityCommand<typeof VersionCommand> {
  static override summary = 'Which nity this is, and what it runs on.';
  static override description =
    'The build is a digest of every file that runs: two nodes that agree in it run the same nity.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override flags = { color: common.color, ...jsonFlag };

  async run(): Promise<void> {
    const versions = await versionsHere(this.config.version);
    this.answer<Version>({ schemaVersion: 1, ...versions }, render);
  }
}

function render(version: Version): string {
  const { nity, build, law, schema, libbpf, addonProblem, kernel, node, platform } = version;
  const lines = [
    ['nity', nity],
    ['build', build],
    ['law', String(law)],
    ['schema', schema ?? '-'],
    ['libbpf', libbpf ?? `- (${addonProblem ?? ''})`],
    ['kernel', kernel],
    ['node', node],
    ['platform', platform],
  ] as const;
  return lines.map(([name, value]) => `${name.padEnd(9)} ${value}`).join('\n');
}
