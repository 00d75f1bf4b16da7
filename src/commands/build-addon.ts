import { common, jsonFlag, NityCommand, type Answer } from '../lib/cli/command.js';
import { buildAddon, type BuiltAddon } from '../lib/dataplane/build-addon.js';

interface Built extends Answer, BuiltAddon {}

export default class BuildAddon extends NityCommand<typeof BuildAddon> {
  static override summary =
    'Build the native addon for this machine, if the one that came does not fit.';
  static override description =
    'The kernel’s programs run on any kernel as they are; the addon that loads them is bound to ' +
    'an architecture and to the C and BPF libraries. What the compiler says goes to stderr.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = { color: common.color, ...jsonFlag };

  async run(): Promise<void> {
    const built = await buildAddon((output) => process.stderr.write(output));
    this.answer<Built>({ schemaVersion: 1, ...built }, render);
  }
}

function render({ addon, libbpf }: Built): string {
  return `Built ${addon}, which loads with libbpf ${libbpf}`;
}
