import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { showDuration } from '../../lib/cli/duration.js';
import { readField, regimeName, type FieldStatus } from '../../lib/dataplane/control.js';
import type { Plane } from '../../lib/dataplane/plane.js';
import type { Snapshot } from '../../lib/dataplane/snapshot.js';

interface Field extends Answer, Omit<FieldStatus, 'regime'> {
  /** Null: no agent has judged it. */
  readonly regime: string | null;
}

export default class InspectField extends InspectCommand<typeof InspectField, Field> {
  static override summary = 'The field: epoch, held epoch, active table, heartbeat, failsafe mode.';
  static override examples = ['<%= config.bin %> <%= command.id %> --json'];
  static override flags = { ...inspectFlags };

  protected view(_snapshot: Snapshot, plane: Plane): Field {
    const { regime: code, ...status } = readField(plane);
    return { schemaVersion: 1, ...status, regime: regimeName(code) };
  }

  protected render(field: Field): string {
    const completed = field.tableEpochs.map(
      (epoch, i) => `${i === 0 ? 'A' : 'B'} ${epoch || 'incomplete'}`,
    );
    return this.table(
      [
        ['epoch', field.epoch],
        ['held epoch', field.heldEpoch],
        ['active table', field.activeTable],
        ['tables', completed.join(', ')],
        [
          'heartbeat age',
          field.heartbeatAgeMs === null ? 'never' : showDuration(field.heartbeatAgeMs),
        ],
        ['failsafe mode', field.failsafeMode],
        ['agent', field.agentPid === null ? 'none' : `pid ${field.agentPid}`],
        [
          'projection held for',
          field.projectionHeldMs === 0 ? null : showDuration(field.projectionHeldMs),
        ],
        ['regime', field.regime],
      ] as const,
      [
        { head: 'FIELD', cell: ([name]) => name },
        { head: 'NOW', cell: ([, value]) => value },
      ],
    );
  }
}
