import { Flags } from '@oclif/core';

import {
  cgroupFlag,
  changeFlags,
  common,
  latencyFlag,
  NityCommand,
  type Answer,
} from '../lib/cli/command.js';
import { renderTable } from '../lib/cli/table.js';
import { logAction } from '../lib/audit/operator-log.js';
import { defaultKnobs } from '../lib/config/knobs.js';
import { cgroupRoot } from '../lib/dataplane/cgroup.js';
import { seeAttached } from '../lib/dataplane/inspection.js';
import { load } from '../lib/dataplane/loader.js';
import type { LoadReport, MapSizes } from '../lib/dataplane/loading.js';

interface Loaded extends Answer, LoadReport {
  readonly pinPath: string;
  readonly cgroup: string;
  readonly dryRun: boolean;
}

const size = (what: string) =>
  Flags.integer({ summary: `room for so many ${what} (on a fresh load)`, min: 64, max: 1 << 24 });

export default class Load extends NityCommand<typeof Load> {
  static override summary = 'Load the dataplane and attach it, or upgrade it in place.';
  static override description =
    'A load is all or nothing. On a loaded node the programs are replaced through their links, ' +
    'with no moment in which a connect is not translated, and the maps stay. --latency first-byte ' +
    'measures the time to a response’s first byte, for one more program on each packet in.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --latency connect',
    '<%= config.bin %> <%= command.id %> --cgroup /sys/fs/cgroup/kubepods.slice --dry-run',
  ];
  static override flags = {
    ...common,
    ...cgroupFlag,
    ...changeFlags,
    ...latencyFlag,
    'max-addresses': size('service addresses'),
    'max-routes': size('route groups'),
    'max-slots': size('slots'),
    'max-backends': size('backends'),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags } = this;
    const pinPath = flags['pin-path'];
    const cgroup = flags.cgroup ?? cgroupRoot();
    const dryRun = flags['dry-run'];
    const { latency } = flags;
    const before = seeAttached(pinPath);
    const report = load({
      pinPath,
      cgroup,
      knobs: defaultKnobs,
      dryRun,
      sizes: this.sizes(),
      ...(latency === undefined ? {} : { latency }),
    });
    if (!dryRun && report.action !== 'unchanged') {
      const problem = logAction(flags['audit-log'], {
        command: 'load',
        pinPath,
        reason: flags.reason,
        before,
        after: report,
      });
      if (problem !== undefined) this.say(problem);
    }
    this.answer<Loaded>({ schemaVersion: 1, ...report, pinPath, cgroup, dryRun }, render);
  }

  private sizes(): MapSizes {
    const { flags } = this;
    return Object.fromEntries(
      (['addresses', 'routes', 'slots', 'backends'] as const)
        .map((what) => [what, flags[`max-${what}`]] as const)
        .filter(([, entries]) => entries !== undefined),
    );
  }
}

const done = {
  loaded: 'Loaded',
  upgraded: 'Upgraded in place',
  unchanged: 'Already loaded',
} as const;

function render({ action, schema, latency, programs, pinPath, cgroup, dryRun }: Loaded): string {
  const head = `${dryRun ? 'Would be: ' : ''}${done[action]}: schema ${schema}, ${latency} latency, pinned at ${pinPath}, attached to ${cgroup}`;
  const table = renderTable(
    programs,
    [
      { head: 'PROGRAM', cell: ({ name }) => name },
      { head: 'ID', align: 'right', cell: ({ id }) => id },
      { head: 'TAG', cell: ({ tag }) => tag },
      {
        head: 'VERIFIED INSNS',
        align: 'right',
        cell: ({ verifiedInstructions }) => verifiedInstructions,
      },
    ],
    { headers: true, wide: false },
  );
  return `${head}\n${table}`;
}
