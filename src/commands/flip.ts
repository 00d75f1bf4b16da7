import { Flags } from '@oclif/core';

import {
  changeFlags,
  common,
  epochFlag,
  expectedEpoch,
  imposedMostMs,
  NityCommand,
  type Answer,
} from '../lib/cli/command.js';
import { parseDuration } from '../lib/cli/duration.js';
import { logAction } from '../lib/audit/operator-log.js';
import { exclusively, openPlane } from '../lib/dataplane/pins.js';
import { flip, type FlipReport } from '../lib/dataplane/flip.js';

interface Flipped extends Answer, FlipReport {
  readonly dryRun: boolean;
}

export default class Flip extends NityCommand<typeof Flip> {
  static override summary = 'Swap to the other slot table: roll back one projection.';
  static override description =
    'The agent is asked to hold its projections for --hold, so that the flip is not undone at once. ' +
    'Refused to an incomplete table, and while the agent is stale unless --force, which moves the held epoch too.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --reason "cart errors since epoch 812"',
    '<%= config.bin %> <%= command.id %> --hold 5m --expect-epoch 812',
  ];
  static override flags = {
    ...common,
    ...changeFlags,
    hold: Flags.string({ summary: 'how long the agent leaves the field alone', default: '30s' }),
    force: Flags.boolean({ summary: 'flip although the agent is stale' }),
    ...epochFlag,
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags } = this;
    const pinPath = flags['pin-path'];
    const options = {
      holdMs: parseDuration(flags.hold, '--hold', { mostMs: imposedMostMs }),
      force: flags.force,
      dryRun: flags['dry-run'],
      expectEpoch: expectedEpoch(flags),
    };
    const plane = openPlane(pinPath);
    const report = exclusively(pinPath, () => flip(plane, options));
    plane.close();
    if (!options.dryRun) {
      const problem = logAction(flags['audit-log'], {
        command: 'flip',
        pinPath,
        reason: flags.reason,
        ...report,
      });
      if (problem !== undefined) this.say(problem);
    }
    this.answer<Flipped>({ schemaVersion: 1, ...report, dryRun: options.dryRun }, render);
  }
}

function render({ before, after, dryRun }: Flipped): string {
  const verb = dryRun ? 'Would flip' : 'Flipped';
  return (
    `${verb}: epoch ${before.epoch} → ${after.epoch}, table ${before.activeTable} → ${after.activeTable}, ` +
    `held epoch ${before.heldEpoch} → ${after.heldEpoch}`
  );
}
