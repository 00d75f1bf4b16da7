import { Flags } from '@oclif/core';

import { changeFlags, common, NityCommand, type Answer } from '../lib/cli/command.js';
import { logAction } from '../lib/audit/operator-log.js';
import { unload, type UnloadReport } from '../lib/dataplane/unload.js';

interface Unloaded extends Answer, UnloadReport {
  readonly pinPath: string;
  readonly dryRun: boolean;
}

export default class Unload extends NityCommand<typeof Unload> {
  static override summary = 'Detach the dataplane and remove what it pinned, and nothing else.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --dry-run',
  ];
  static override flags = {
    ...common,
    ...changeFlags,
    force: Flags.boolean({ summary: 'also under a running agent' }),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags } = this;
    const pinPath = flags['pin-path'];
    const dryRun = flags['dry-run'];
    const report = unload({ pinPath, force: flags.force, dryRun });
    if (!dryRun && report.action === 'unloaded') {
      const problem = logAction(flags['audit-log'], {
        command: 'unload',
        pinPath,
        reason: flags.reason,
        before: report.removed,
        after: null,
      });
      if (problem !== undefined) this.say(problem);
    }
    this.answer<Unloaded>({ schemaVersion: 1, ...report, pinPath, dryRun }, render);
  }
}

function render({ action, removed, pinPath, dryRun }: Unloaded): string {
  if (action === 'absent') return `Nothing is loaded at ${pinPath}`;
  return `${dryRun ? 'Would unload' : 'Unloaded'} ${pinPath}: ${removed.length} pins`;
}
