import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import type { Snapshot } from '../../lib/dataplane/snapshot.js';

interface Counters extends Answer {
  readonly counters: Readonly<Record<string, bigint>>;
}

export default class InspectCounters extends InspectCommand<typeof InspectCounters, Counters> {
  static override summary = 'What the kernel counted on this node, by reason.';
  static override examples = ['<%= config.bin %> <%= command.id %> --json'];
  static override flags = { ...inspectFlags };

  protected view(snapshot: Snapshot): Counters {
    return { schemaVersion: 1, counters: snapshot.counters() };
  }

  protected render({ counters }: Counters): string {
    return this.table(Object.entries(counters), [
      { head: 'COUNTER', cell: ([name]) => name },
      { head: 'COUNT', align: 'right', cell: ([, count]) => count },
    ]);
  }
}
