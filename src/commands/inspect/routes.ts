import { Flags } from '@oclif/core';

import { askCluster } from '../../lib/agent/report.js';
import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { showDuration } from '../../lib/cli/duration.js';
import { selectRoutes } from '../../lib/dataplane/override.js';
import type { Plane } from '../../lib/dataplane/plane.js';
import type { Snapshot } from '../../lib/dataplane/snapshot.js';
import { NoAgentError } from '../../lib/errors.js';
import type { Skipped } from '../../lib/kubernetes/service-routes.js';
import type { ClusterStatus } from '../../lib/kubernetes/status.js';
import { describeEnforce } from '../../lib/routes/enforce.js';
import { serviceOf } from '../../lib/routes/route-set.js';

interface Row {
  readonly route: string;
  readonly vip: string | null;
  readonly port: number | null;
  readonly protocol: string | null;
  readonly backends: number;
  readonly slots: number;
  readonly admissionMode: string;
  readonly override: { readonly mode: string; readonly remainingMs: number } | null;
  readonly picks: bigint;
  readonly refused: bigint;
  readonly gear: string;
  readonly affinitySeconds: number;
  /** "full", "observe", or of how many connects: "25%". */
  readonly enforce: string;
  /** Of its Service in the cluster; null without an agent that follows one. */
  readonly cluster: {
    readonly synced: boolean;
    /** Since the API server was heard, while a watch has trouble; null while all is well. */
    readonly cutOffMs: number | null;
    /** Age of its oldest change that is not in the kernel yet; null without one. */
    readonly pendingMs: number | null;
    /** How long its last change took, from its cause in the cluster; null if unknown. */
    readonly programmingMs: number | null;
  } | null;
}

interface Routes extends Answer {
  readonly routes: readonly Row[];
  /** What is left for kube-proxy; only where it was asked for. */
  readonly skipped?: readonly Skipped[];
}

/** By the watch that has heard nothing for the longest. */
function cutOffMs({ watches }: ClusterStatus): number | null {
  const cut = watches.filter(({ problem }) => problem !== null);
  return cut.length === 0 ? null : Math.max(...cut.map(({ heardAgoMs }) => heardAgoMs ?? 0));
}

function stateOf({ synced, cutOffMs: ms }: NonNullable<Row['cluster']>): string {
  if (!synced) return 'not synced';
  return ms === null ? 'synced' : `cut off ${showDuration(ms)}`;
}

function lasted(ms: number | null | undefined): string | null {
  return ms === null || ms === undefined ? null : showDuration(ms);
}

export default class InspectRoutes extends InspectCommand<typeof InspectRoutes, Routes> {
  static override summary = 'Routes: addresses, backends, slots, admission, picks and refusals.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --route 127.96.0.10:80 --json',
    '<%= config.bin %> <%= command.id %> --skipped',
  ];
  static override flags = {
    ...inspectFlags,
    route: Flags.string({ summary: 'only this route, by name or address' }),
    skipped: Flags.boolean({
      summary: 'what of the cluster is left for kube-proxy, and why',
      exclusive: ['route'],
    }),
  };

  protected async view(snapshot: Snapshot, plane: Plane): Promise<Routes> {
    const nowNs = plane.nowNs();
    const pinPath = this.flags['pin-path'];
    const status = await askCluster(pinPath);
    if (this.flags.skipped && status === null) {
      throw new NoAgentError(pinPath, 'No agent that follows a cluster');
    }
    const cluster =
      status === null
        ? null
        : {
            synced: status.synced,
            cutOffMs: cutOffMs(status),
            pendingMs: null,
            programmingMs: null,
          };
    const routes = selectRoutes(snapshot.routes(), this.flags.route).flatMap((view): Row[] => {
      const { override } = view;
      const row = {
        route: view.name,
        backends: view.backends,
        slots: view.slots,
        admissionMode: view.admissionMode,
        override:
          override === undefined
            ? null
            : {
                mode: override.mode,
                remainingMs: Number((override.expiresNs - nowNs) / 1_000_000n),
              },
        picks: view.picks,
        refused: view.refused,
        gear: view.gear,
        affinitySeconds: view.affinitySeconds,
        enforce: describeEnforce(view.enforcedPercent),
        cluster:
          cluster === null ? null : { ...cluster, ...status?.progress[serviceOf(view.name)] },
      };
      // A route group without an address cannot be dialled, but it is there.
      if (view.addresses.length === 0) return [{ ...row, vip: null, port: null, protocol: null }];
      return view.addresses.map((address) => ({ ...row, ...address }));
    });
    const skipped = this.flags.skipped && status !== null ? { skipped: status.skipped } : {};
    return { schemaVersion: 1, routes, ...skipped };
  }

  protected render({ routes, skipped }: Routes): string {
    if (skipped !== undefined) {
      return this.table(skipped, [
        { head: 'SERVICE', cell: ({ service }) => service },
        { head: 'PORT', cell: ({ port }) => port },
        { head: 'ADDRESS', cell: ({ address }) => address },
        { head: 'REASON', cell: ({ reason }) => reason },
        { head: 'DETAIL', cell: ({ detail }) => detail },
      ]);
    }
    return this.table(routes, [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'ADDRESS', cell: ({ vip, port }) => (vip === null ? null : `${vip}:${port ?? ''}`) },
      { head: 'PROTO', cell: ({ protocol }) => protocol },
      { head: 'BACKENDS', align: 'right', cell: ({ backends }) => backends },
      { head: 'SLOTS', align: 'right', cell: ({ slots }) => slots },
      { head: 'MODE', cell: ({ admissionMode }) => admissionMode },
      { head: 'ENFORCE', cell: ({ enforce }) => enforce },
      {
        head: 'OVERRIDE',
        cell: ({ override }) =>
          override === null ? null : `${override.mode} ${showDuration(override.remainingMs)}`,
      },
      { head: 'PICKS', align: 'right', cell: ({ picks }) => picks },
      { head: 'REFUSED', align: 'right', cell: ({ refused }) => refused },
      { head: 'GEAR', wide: true, cell: ({ gear }) => gear },
      { head: 'AFFINITY', wide: true, cell: ({ affinitySeconds }) => affinitySeconds || null },
      {
        head: 'CLUSTER',
        wide: true,
        cell: ({ cluster }) => (cluster === null ? null : stateOf(cluster)),
      },
      {
        head: 'PENDING',
        align: 'right',
        wide: true,
        cell: ({ cluster }) => lasted(cluster?.pendingMs),
      },
      {
        head: 'PROGRAMMED IN',
        align: 'right',
        wide: true,
        cell: ({ cluster }) => lasted(cluster?.programmingMs),
      },
    ]);
  }
}
