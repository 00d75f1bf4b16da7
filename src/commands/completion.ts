import { Args } from '@oclif/core';

import { NityCommand } from '../lib/cli/command.js';
import { readCatalogue, type CommandInfo } from '../lib/cli/catalogue.js';
import { bashCompletion } from '../lib/cli/completion/bash.js';
import { fishCompletion } from '../lib/cli/completion/fish.js';
import { zshCompletion } from '../lib/cli/completion/zsh.js';

const shells: Readonly<Record<string, (commands: readonly CommandInfo[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

export default class Completion extends NityCommand<typeof Completion> {
  static override summary = 'Completion of commands, flags and their values, for your shell.';
  static override description =
    'Prints a script that the shell reads; nothing is installed. For every shell to come, put ' +
    'the line below into ~/.bashrc, ~/.zshrc (after compinit) or ~/.config/fish/config.fish.';
  static override examples = [
    'source <(<%= config.bin %> <%= command.id %> bash)',
    'source <(<%= config.bin %> <%= command.id %> zsh)',
    '<%= config.bin %> <%= command.id %> fish | source',
  ];
  static override args = {
    shell: Args.string({
      required: true,
      options: Object.keys(shells),
      description: 'the shell that is to read it',
    }),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { commands } = readCatalogue(this.config.root);
    process.stdout.write(shells[this.args.shell]?.(commands) ?? '');
  }
}
