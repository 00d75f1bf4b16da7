import { Flags } from '@oclif/core';

import { askAgent } from '../../lib/agent/report.js';
import { backendOf } from '../../lib/cli/backend-filter.js';
import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import type { Column } from '../../lib/cli/table.js';
import { selectRoutes } from '../../lib/dataplane/override.js';
import type { BackendView, Snapshot } from '../../lib/dataplane/snapshot.js';

interface Row {
  readonly route: string;
  readonly backend: string;
  readonly state: string;
  /** For every client; or for one, whose own connects failed. */
  readonly suspect: boolean;
  readonly suspectForOne: boolean;
  readonly slots: number;
  readonly open: number;
  readonly picks: bigint;
  readonly established: bigint;
  readonly failed: bigint;
  readonly refused: bigint;
  readonly timedOut: bigint;
  readonly unreachable: bigint;
  readonly abandoned: bigint;
  /** Of the abandoned, those whose SYN had waited for long; and picks from which no SYN came. */
  readonly unheard: bigint;
  readonly unsent: bigint;
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
  /** First requests of a connection: answered, closed on by the backend, given up by the client. */
  readonly firstAnswered: bigint;
  readonly dropped: bigint;
  readonly unanswered: bigint;
  readonly retransmits: bigint;
  /** Measured requests without an answer yet, and their mean age. */
  readonly waiting: number;
  readonly waitingAgeMs: number | null;
  /** As the agent judges it; null without an agent. */
  readonly pressure: number | null;
  /** What it would have if all that is judged were enforced, where that differs. */
  readonly wouldBe: { readonly state: string; readonly slots: number } | null;
}

interface Backends extends Answer {
  readonly backends: readonly Row[];
}

interface Judged extends Pick<Row, 'wouldBe'> {
  readonly pressure: number;
}

function wouldBe(
  { state, slots }: Pick<BackendView, 'state' | 'slots'>,
  judged: Judged | undefined,
): Row['wouldBe'] {
  const would = judged?.wouldBe ?? null;
  return would === null || (would.state === state && would.slots === slots) ? null : would;
}

function stateOf({ state, suspect, suspectForOne }: Row): string {
  if (suspect) return `${state},suspect`;
  return suspectForOne ? `${state},suspect for one client` : state;
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
    const judged = await this.judged();
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
          unheard,
          unsent,
          reset,
          closed,
          bytesSent,
          bytesReceived,
          answered,
          firstAnswered,
          dropped,
          unanswered,
          retransmits,
        } = view.counters;
        return {
          route: view.route,
          backend: view.backend,
          state: view.state,
          suspect: view.suspect,
          suspectForOne: view.suspectForOne,
          slots: view.slots,
          open: view.open,
          picks: view.picks,
          established: view.established,
          failed: view.failed,
          ...{ refused, timedOut, unreachable, abandoned, unheard, unsent, reset, closed },
          ...{ bytesSent, bytesReceived },
          connectP50Us: view.connectP50Us,
          connectP95Us: view.connectP95Us,
          connectP99Us: view.connectP99Us,
          firstByteP50Us: view.firstByteP50Us,
          firstByteP95Us: view.firstByteP95Us,
          firstByteP99Us: view.firstByteP99Us,
          ...{ answered, firstAnswered, dropped, unanswered, retransmits },
          waiting: view.waiting,
          waitingAgeMs: view.waitingAgeMs,
          pressure: judged.get(`${view.route} ${view.backend}`)?.pressure ?? null,
          wouldBe: wouldBe(view, judged.get(`${view.route} ${view.backend}`)),
        };
      });
    return { schemaVersion: 1, backends };
  }

  /** By route and backend; empty when no agent answers. */
  private async judged(): Promise<Map<string, Judged>> {
    const report = await askAgent(this.flags['pin-path']);
    const judged = new Map<string, Judged>();
    for (const { name, observed, backends } of report?.routes ?? []) {
      for (const { id, pressure, state, slots } of backends) {
        judged.set(`${name} ${id}`, {
          pressure: Math.round(pressure.total * 1000) / 1000,
          wouldBe: observed === null ? null : { state, slots },
        });
      }
    }
    return judged;
  }

  protected render({ backends }: Backends): string {
    return this.table(backends, [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'BACKEND', cell: ({ backend }) => backend },
      { head: 'STATE', cell: stateOf },
      { head: 'SLOTS', align: 'right', cell: ({ slots }) => slots },
      {
        head: 'WOULD BE',
        wide: true,
        cell: ({ wouldBe: would }) => (would === null ? null : `${would.state} ${would.slots}`),
      },
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
      { head: 'UNHEARD', align: 'right', wide: true, cell: ({ unheard }) => unheard },
      { head: 'UNSENT', align: 'right', wide: true, cell: ({ unsent }) => unsent },
      { head: 'RESET', align: 'right', wide: true, cell: ({ reset }) => reset },
      { head: 'CLOSED', align: 'right', wide: true, cell: ({ closed }) => closed },
      { head: 'DROPPED', align: 'right', wide: true, cell: ({ dropped }) => dropped },
      { head: 'UNANSWERED', align: 'right', wide: true, cell: ({ unanswered }) => unanswered },
      { head: 'PRESSURE', align: 'right', cell: ({ pressure }) => pressure?.toFixed(2) ?? null },
    ]);
  }
}
