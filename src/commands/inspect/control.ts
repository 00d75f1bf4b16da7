import { Flags } from '@oclif/core';

import { inspectFlags, InspectCommand } from '../../lib/cli/inspect.js';
import type { Answer } from '../../lib/cli/command.js';
import { showDuration } from '../../lib/cli/duration.js';
import { readField, type AdmissionModeName } from '../../lib/dataplane/control.js';
import { selectRoutes } from '../../lib/dataplane/override.js';
import type { Plane } from '../../lib/dataplane/plane.js';
import type { Snapshot } from '../../lib/dataplane/snapshot.js';

interface Row {
  readonly route: string;
  readonly admissionMode: string;
  readonly effectiveMode: string;
  readonly override: { readonly mode: string; readonly remainingMs: number } | null;
  readonly ratePerSecond: number | null;
  readonly burst: number | null;
  readonly gear: string;
  readonly affinitySeconds: number;
}

interface Control extends Answer {
  readonly routes: readonly Row[];
}

export default class InspectControl extends InspectCommand<typeof InspectControl, Control> {
  static override summary =
    'Each route’s valve: the agent’s mode, the override, the budget, the gear.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];
  static override flags = {
    ...inspectFlags,
    route: Flags.string({ summary: 'only this route, by name or address' }),
  };

  protected view(snapshot: Snapshot, plane: Plane): Control {
    const nowNs = plane.nowNs();
    const { failsafeMode } = readField(plane);
    // RFC 0002: what a dead agent left hard is soft in FALLBACK.
    const agentsMode = (mode: AdmissionModeName) =>
      failsafeMode === 'fallback' && mode === 'hard' ? 'soft' : mode;
    const routes = selectRoutes(snapshot.routes(), this.flags.route).map((view): Row => {
      const { override } = view;
      const budget = override?.budget ?? view.budget;
      return {
        route: view.name,
        admissionMode: view.admissionMode,
        effectiveMode: override?.mode ?? agentsMode(view.admissionMode),
        override:
          override === undefined
            ? null
            : {
                mode: override.mode,
                remainingMs: Number((override.expiresNs - nowNs) / 1_000_000n),
              },
        ratePerSecond: budget?.ratePerSecond ?? null,
        burst: budget?.burst ?? null,
        gear: view.gear,
        affinitySeconds: view.affinitySeconds,
      };
    });
    return { schemaVersion: 1, routes };
  }

  protected render({ routes }: Control): string {
    return this.table(routes, [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'EFFECTIVE', cell: ({ effectiveMode }) => effectiveMode },
      { head: 'AGENT', cell: ({ admissionMode }) => admissionMode },
      { head: 'OVERRIDE', cell: ({ override }) => override?.mode ?? null },
      {
        head: 'LEFT',
        align: 'right',
        cell: ({ override }) => (override === null ? null : showDuration(override.remainingMs)),
      },
      {
        head: 'RATE/s',
        align: 'right',
        cell: ({ ratePerSecond }) => ratePerSecond?.toFixed(0) ?? null,
      },
      { head: 'BURST', align: 'right', cell: ({ burst }) => burst },
      { head: 'GEAR', cell: ({ gear }) => gear },
      { head: 'AFFINITY', align: 'right', cell: ({ affinitySeconds }) => affinitySeconds || null },
    ]);
  }
}
