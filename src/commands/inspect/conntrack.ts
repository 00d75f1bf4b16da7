import { Flags } from '@oclif/core';

import { backendOf } from '../../lib/cli/backend-filter.js';
import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { showDuration } from '../../lib/cli/duration.js';
import { matchesRoute, selectRoutes } from '../../lib/dataplane/override.js';
import type { FlowView, FlowsView, Snapshot } from '../../lib/dataplane/snapshot.js';

interface Conntrack extends Answer {
  /** Why the flows of sockets are not among these; null: they are. */
  readonly socketsMissing: string | null;
  readonly flows: readonly FlowView[];
}

export default class InspectConntrack extends InspectCommand<typeof InspectConntrack, Conntrack> {
  static override summary = 'What is remembered of flows: by sockets, bound sources and clients.';
  static override description =
    'Where the kernel refuses the tracing program that lists sockets, the others are shown, and ' +
    'why these are not is told on stderr, with --json in socketsMissing.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --backend 10.1.2.3:8080',
  ];
  static override flags = {
    ...inspectFlags,
    route: Flags.string({ summary: 'only this route, by name or address' }),
    backend: Flags.string({ summary: 'only this backend, by ip:port' }),
  };

  private told = false;

  protected view(snapshot: Snapshot): Conntrack {
    const { route, backend } = this.flags;
    // An affinity knows its route, and no address of it.
    const name = snapshot.routes().find((view) => matchesRoute(view, route ?? ''))?.name ?? route;
    const seen = snapshot.flows();
    const flows = seen.flows
      .filter((flow) => route === undefined || flow.route === name || flow.vip === route)
      .filter((flow) => backend === undefined || flow.backend === backend);
    // A flow may name what is gone; what is neither there nor in a flow is a slip.
    if (flows.length === 0) {
      selectRoutes(snapshot.routes(), route);
      if (backend !== undefined) backendOf(snapshot, backend);
    }
    const { socketsMissing } = seen;
    if (socketsMissing !== null) this.tellMissing(socketsMissing);
    return { schemaVersion: 1, socketsMissing: socketsMissing?.cause ?? null, flows };
  }

  /** Once, also with --watch: it does not change while one looks. */
  private tellMissing({ cause, advice }: NonNullable<FlowsView['socketsMissing']>): void {
    if (this.told || this.flags.json) return;
    this.told = true;
    this.say(`The flows of sockets are not shown: ${cause}.\n→ ${advice}`);
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
