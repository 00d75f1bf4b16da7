import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { describeSchema, type Plane } from '../../lib/dataplane/plane.js';
import type { Snapshot } from '../../lib/dataplane/snapshot.js';

interface Maps extends Answer {
  readonly schema: string;
  readonly maps: ReturnType<Snapshot['maps']>;
}

export default class InspectMaps extends InspectCommand<typeof InspectMaps, Maps> {
  static override summary = 'The maps, their sizes, and the schema they follow.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = { ...inspectFlags };

  protected view(snapshot: Snapshot, plane: Plane): Maps {
    const schema = describeSchema(plane.fieldState.get(0, 'schema'));
    return { schemaVersion: 1, schema, maps: snapshot.maps() };
  }

  protected render({ schema, maps }: Maps): string {
    const table = this.table(maps, [
      { head: 'MAP', cell: ({ name }) => name },
      { head: 'ID', align: 'right', cell: ({ id }) => id },
      { head: 'KEY', align: 'right', cell: ({ keySize }) => keySize },
      { head: 'VALUE', align: 'right', cell: ({ valueSize }) => valueSize },
      { head: 'ENTRIES', align: 'right', cell: ({ maxEntries }) => maxEntries },
      { head: 'TYPE', align: 'right', wide: true, cell: ({ type }) => type },
    ]);
    return `schema ${schema}\n${table}`;
  }
}
