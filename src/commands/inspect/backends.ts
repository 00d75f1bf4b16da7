import { Flags } from '@oclif/core';

import { askAgent } from '../../lib/agent/report.js';
import { backendOf } from '../../lib/cli/backend-filter.js';
import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import type { Column } from '../../lib/cli/table.js';
import { selectRoutes } from '../../lib/dataplane/override.js';
import type { Snapshot } from '../../lib/dataplane/snapshot.js';

interface Row {
  readonly route: string;
  readonly backend: string;
  readonly state: string;
  readonly suspect: boolean;
  readonly slots: number;
  readonly open: number;
  readonly picks: bigint;
  readonly established: bigint;
  readonly failed: bigint;
  readonly refused: bigint;
  readonly timedOut: bigint;
  readonly unreachable: bigint;
  readonly abandoned: bigint;
  readonly reset: bigint;
  readonly closed: bigint;
  readonly bytesSent: bigint;
  readonly bytesReceived: bigint;
  readonly connectP50Us: number | null;
  readonly connectP95Us: number | null;
  readonly connectP99Us: number | null;
  /** Of measured requests; null without one. */
  readonly firstByteP50Us: number | null;
  readonly firstByteP95Us: number | null;
  readonly firstByteP99Us: number | null;
  readonly answered: bigint;
  readonly dropped: bigint;
  readonly unanswered: bigint;
  readonly retransmits: bigint;
  /** Measured requests without an answer yet, and their mean age. */
  readonly waiting: number;
  readonly waitingAgeMs: number | null;
  /** As the agent judges it; null without an agent. */
  readonly pressure: number | null;
}

interface Backends extends Answer {
  readonly backends: readonly Row[];
}

/** Three columns; the middle one, P95, is always shown. */
function latencies(
  what: string,
  quantiles: (row: Row) => readonly (number | null)[],
): Column<Row>[] {
  return ['P50', 'P95', 'P99'].map((name, i) => ({
    head: `${what} ${name} µs`,
    align: 'right',
    wide: i !== 1,
    cell: (row) => quantiles(row)[i]?.toFixed(0) ?? null,
  }));
}

export default class InspectBackends extends InspectCommand<typeof InspectBackends, Backends> {
  static override summary =
    'Backends: state, slots, open connections, outcomes, latencies and pressure.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --route shop/cart:http -o wide',
  ];
  static override flags = {
    ...inspectFlags,
    route: Flags.string({ summary: 'only this route, by name or address' }),
    backend: Flags.string({ summary: 'only this backend, by ip:port' }),
  };

  protected async view(snapshot: Snapshot): Promise<Backends> {
    const { route, backend } = this.flags;
    if (backend !== undefined) backendOf(snapshot, backend);
    const pressures = await this.pressures();
    const routes = new Set(selectRoutes(snapshot.routes(), route).map(({ handle }) => handle));
    const backends = snapshot
      .backends()
      .filter((view) => route === undefined || routes.has(view.routeHandle))
      .filter((view) => backend === undefined || view.backend === backend)
      .map((view): Row => {
        const {
          refused,
          timedOut,
          unreachable,
          abandoned,
          reset,
          closed,
          bytesSent,
          bytesReceived,
          answered,
          dropped,
          unanswered,
          retransmits,
        } = view.counters;
        return {
          route: view.route,
          backend: view.backend,
          state: view.state,
          suspect: view.suspect,
          slots: view.slots,
          open: view.open,
          picks: view.picks,
          established: view.established,
          failed: view.failed,
          ...{ refused, timedOut, unreachable, abandoned, reset, closed, bytesSent, bytesReceived },
          connectP50Us: view.connectP50Us,
          connectP95Us: view.connectP95Us,
          connectP99Us: view.connectP99Us,
          firstByteP50Us: view.firstByteP50Us,
          firstByteP95Us: view.firstByteP95Us,
          firstByteP99Us: view.firstByteP99Us,
          ...{ answered, dropped, unanswered, retransmits },
          waiting: view.waiting,
          waitingAgeMs: view.waitingAgeMs,
          pressure: pressures.get(`${view.route} ${view.backend}`) ?? null,
        };
      });
    return { schemaVersion: 1, backends };
  }

  /** By route and backend; empty when no agent answers. */
  private async pressures(): Promise<Map<string, number>> {
    const report = await askAgent(this.flags['pin-path']);
    const pressures = new Map<string, number>();
    for (const route of report?.routes ?? []) {
      for (const { id, pressure } of route.backends) {
        pressures.set(`${route.name} ${id}`, Math.round(pressure.total * 1000) / 1000);
      }
    }
    return pressures;
  }

  protected render({ backends }: Backends): string {
    return this.table(backends, [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'BACKEND', cell: ({ backend }) => backend },
      { head: 'STATE', cell: ({ state, suspect }) => (suspect ? `${state},suspect` : state) },
      { head: 'SLOTS', align: 'right', cell: ({ slots }) => slots },
      { head: 'OPEN', align: 'right', cell: ({ open }) => open },
      { head: 'PICKS', align: 'right', cell: ({ picks }) => picks },
      { head: 'ESTABLISHED', align: 'right', cell: ({ established }) => established },
      { head: 'FAILED', align: 'right', cell: ({ failed }) => failed },
      { head: 'WAITING', align: 'right', cell: ({ waiting }) => waiting },
      {
        head: 'AGE ms',
        align: 'right',
        cell: ({ waitingAgeMs }) => waitingAgeMs?.toFixed(0) ?? null,
      },
      ...latencies('FIRST BYTE', ({ firstByteP50Us, firstByteP95Us, firstByteP99Us }) => [
        firstByteP50Us,
        firstByteP95Us,
        firstByteP99Us,
      ]),
      ...latencies('CONNECT', ({ connectP50Us, connectP95Us, connectP99Us }) => [
        connectP50Us,
        connectP95Us,
        connectP99Us,
      ]),
      { head: 'REFUSED', align: 'right', wide: true, cell: ({ refused }) => refused },
      { head: 'TIMED OUT', align: 'right', wide: true, cell: ({ timedOut }) => timedOut },
      { head: 'ABANDONED', align: 'right', wide: true, cell: ({ abandoned }) => abandoned },
      { head: 'RESET', align: 'right', wide: true, cell: ({ reset }) => reset },
      { head: 'CLOSED', align: 'right', wide: true, cell: ({ closed }) => closed },
      { head: 'DROPPED', align: 'right', wide: true, cell: ({ dropped }) => dropped },
      { head: 'UNANSWERED', align: 'right', wide: true, cell: ({ unanswered }) => unanswered },
      { head: 'PRESSURE', align: 'right', cell: ({ pressure }) => pressure?.toFixed(2) ?? null },
    ]);
  }
}
