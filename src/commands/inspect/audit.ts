import { Flags } from '@oclif/core';

import { readActions, type AuditTrail, type LoggedAction } from '../../lib/audit/operator-log.js';
import {
  changeFlags,
  common,
  NityCommand,
  tableFlags,
  type Answer,
} from '../../lib/cli/command.js';
import { counted } from '../../lib/cli/numbers.js';
import { renderTable } from '../../lib/cli/table.js';

interface Audit extends Answer, AuditTrail {
  readonly log: string;
}

export default class InspectAudit extends NityCommand<typeof InspectAudit> {
  static override summary = 'Who changed what on this node, when and why.';
  static override description =
    'The end of the audit log, the newest last; --json has what was before and after. It needs ' +
    'no dataplane.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --last 200 --json',
  ];
  static override flags = {
    color: common.color,
    json: tableFlags.json,
    'no-headers': tableFlags['no-headers'],
    output: tableFlags.output,
    'audit-log': changeFlags['audit-log'],
    last: Flags.integer({ summary: 'how many', default: 20, min: 1, max: 10_000 }),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags } = this;
    const log = flags['audit-log'];
    const trail = readActions(log, flags.last);
    this.answer<Audit>({ schemaVersion: 1, log, ...trail }, () => this.render(trail));
    if (trail.unreadable > 0) this.say(`${log} has ${trail.unreadable} lines that are no action.`);
  }

  private render({ actions }: AuditTrail): string {
    const { flags } = this;
    return renderTable(
      actions,
      [
        { head: 'TIME', cell: ({ time }) => time },
        { head: 'WHO', cell: who },
        { head: 'COMMAND', cell: ({ command }) => command },
        { head: 'ROUTES', cell: routesOf },
        { head: 'PINS', wide: true, cell: ({ pinPath }) => pinPath },
        { head: 'WHY', cell: ({ reason }) => reason },
      ],
      { headers: !flags['no-headers'], wide: flags.output === 'wide' },
    );
  }
}

/** The routes that were changed, where it was routes; --json has what became of each. */
function routesOf({ after }: LoggedAction): string | null {
  if (!Array.isArray(after)) return null;
  const names = after.flatMap((change: { route?: unknown }) =>
    typeof change.route === 'string' ? [change.route] : [],
  );
  if (names.length === 0) return null;
  return names.length > 2 ? counted(names.length, 'route') : names.join(',');
}

function who({ uid, sudoUid, sudoUser }: LoggedAction): string {
  if (sudoUser !== null) return `${sudoUser} (sudo)`;
  return sudoUid === null ? `uid ${uid}` : `uid ${sudoUid} (sudo)`;
}
