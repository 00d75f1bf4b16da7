import { Flags } from '@oclif/core';

import { backendOf } from '../../lib/cli/backend-filter.js';
import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { showDuration } from '../../lib/cli/duration.js';
import { matchesRoute, selectRoutes } from '../../lib/dataplane/override.js';
import { socketsObjectPath } from '../../lib/dataplane/programs.js';
import type { FlowView, Snapshot } from '../../lib/dataplane/snapshot.js';

interface Conntrack extends Answer {
  readonly flows: readonly FlowView[];
}

export default class InspectConntrack extends InspectCommand<typeof InspectConntrack, Conntrack> {
  static override summary = 'What is remembered of flows: by sockets, bound sources and clients.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --backend 10.1.2.3:8080',
  ];
  static override flags = {
    ...inspectFlags,
    route: Flags.string({ summary: 'only this route, by name or address' }),
    backend: Flags.string({ summary: 'only this backend, by ip:port' }),
  };

  protected view(snapshot: Snapshot): Conntrack {
    const { route, backend } = this.flags;
    // An affinity knows its route, and no address of it.
    const name = snapshot.routes().find((view) => matchesRoute(view, route ?? ''))?.name ?? route;
    const flows = snapshot
      .flows(socketsObjectPath)
      .filter((flow) => route === undefined || flow.route === name || flow.vip === route)
      .filter((flow) => backend === undefined || flow.backend === backend);
    // A flow may name what is gone; what is neither there nor in a flow is a slip.
    if (flows.length === 0) {
      selectRoutes(snapshot.routes(), route);
      if (backend !== undefined) backendOf(snapshot, backend);
    }
    return { schemaVersion: 1, flows };
  }

  protected render({ flows }: Conntrack): string {
    return this.table(flows, [
      { head: 'KIND', cell: ({ kind }) => kind },
      { head: 'CLIENT', cell: ({ client }) => client },
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'ADDRESS', cell: ({ vip }) => vip || null },
      { head: 'BACKEND', cell: ({ backend }) => backend },
      { head: 'PHASE', cell: ({ phase }) => phase },
      { head: 'EPOCH', align: 'right', cell: ({ epoch }) => epoch },
      { head: 'AGE', align: 'right', cell: ({ ageMs }) => showDuration(ageMs) },
    ]);
  }
}
