import { Flags } from '@oclif/core';

import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { bar } from '../../lib/cli/table.js';
import { readField } from '../../lib/dataplane/control.js';
import { selectRoutes } from '../../lib/dataplane/override.js';
import type { Plane } from '../../lib/dataplane/plane.js';
import type { Snapshot, SlotsView } from '../../lib/dataplane/snapshot.js';

interface Slots extends Answer {
  readonly epoch: bigint;
  readonly activeTable: string;
  readonly routes: readonly SlotsView[];
}

export default class InspectSlots extends InspectCommand<typeof InspectSlots, Slots> {
  static override summary = 'Who owns how many slots of each route, in the table in force.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --route shop/cart:http --watch',
  ];
  static override flags = {
    ...inspectFlags,
    route: Flags.string({ summary: 'only this route, by name or address' }),
  };

  protected view(snapshot: Snapshot, plane: Plane): Slots {
    const { epoch, activeTable } = readField(plane);
    const { route } = this.flags;
    const all = snapshot.slots();
    if (route === undefined) return { schemaVersion: 1, epoch, activeTable, routes: all };
    // All that is known of routes is read only to find one by its address.
    const names = new Set(selectRoutes(snapshot.routes(), route).map(({ name }) => name));
    const routes = all.filter((slots) => names.has(slots.route));
    return { schemaVersion: 1, epoch, activeTable, routes };
  }

  protected render({ epoch, activeTable, routes }: Slots): string {
    const rows = routes.flatMap(({ route, total, slots }) =>
      slots.map((slot) => ({ route, total, ...slot })),
    );
    const table = this.table(rows, [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'BACKEND', cell: ({ backend }) => backend },
      { head: 'SLOTS', align: 'right', cell: ({ slots }) => slots },
      { head: 'TOTAL', align: 'right', cell: ({ total }) => total },
      { head: 'SHARE', align: 'right', cell: ({ share }) => `${(share * 100).toFixed(1)}%` },
      { head: '', cell: ({ share }) => bar(share, 30) },
    ]);
    return `epoch ${epoch}, table ${activeTable}\n${table}`;
  }
}
