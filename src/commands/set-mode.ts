import { Args, Flags } from '@oclif/core';

import {
  changeFlags,
  common,
  epochFlag,
  expectedEpoch,
  imposedMostMs,
  NityCommand,
  type Answer,
} from '../lib/cli/command.js';
import { parseDuration, showDuration } from '../lib/cli/duration.js';
import { logAction } from '../lib/audit/operator-log.js';
import { renderTable } from '../lib/cli/table.js';
import { setMode, type ModeChange } from '../lib/dataplane/override.js';
import { exclusively, openPlane } from '../lib/dataplane/pins.js';
import { UsageError } from '../lib/errors.js';

interface ModeSet extends Answer {
  readonly mode: string;
  readonly ttlMs: number | null;
  readonly routes: readonly ModeChange[];
  readonly dryRun: boolean;
}

export default class SetMode extends NityCommand<typeof SetMode> {
  static override summary = 'Override the admission mode of one route or of all, for a time.';
  static override description =
    'The kernel itself ends the override after --ttl, agent alive or dead; `auto` ends it now. ' +
    'soft admits by a budget: give --rate, unless the agent has set one.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> hard --route shop/cart:http --ttl 2m --reason "draining"',
    '<%= config.bin %> <%= command.id %> soft --rate 200 --burst 50',
    '<%= config.bin %> <%= command.id %> auto',
  ];
  static override args = {
    mode: Args.string({
      required: true,
      options: ['normal', 'soft', 'hard', 'auto'],
      description: 'normal, soft, hard; or auto to give control back',
    }),
  };
  static override flags = {
    ...common,
    ...changeFlags,
    route: Flags.string({ summary: 'namespace/service:port, or a service address ip:port' }),
    ttl: Flags.string({ summary: 'how long it lasts', default: '10m' }),
    rate: Flags.integer({ summary: 'soft: connects a second', min: 1, max: 1_000_000 }),
    burst: Flags.integer({
      summary: 'soft: connects that may come at once',
      min: 1,
      max: 1_000_000,
    }),
    ...epochFlag,
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags, args } = this;
    const pinPath = flags['pin-path'];
    const mode = args.mode as 'normal' | 'soft' | 'hard' | 'auto';
    if (mode !== 'soft' && (flags.rate !== undefined || flags.burst !== undefined)) {
      throw new UsageError(
        '--rate and --burst belong to soft.',
        'Leave them out, or set the mode soft.',
      );
    }
    const ttlMs = parseDuration(flags.ttl, '--ttl', { leastMs: 1, mostMs: imposedMostMs });
    const expectEpoch = expectedEpoch(flags);
    const plane = openPlane(pinPath);
    const routes = exclusively(pinPath, () =>
      setMode(plane, {
        mode,
        ttlMs,
        route: flags.route,
        dryRun: flags['dry-run'],
        expectEpoch,
        budget:
          flags.rate === undefined
            ? undefined
            : {
                ratePerSecond: flags.rate,
                burst: flags.burst ?? Math.max(1, Math.ceil(flags.rate / 10)),
              },
      }),
    );
    plane.close();
    if (!flags['dry-run']) {
      const problem = logAction(flags['audit-log'], {
        command: `set-mode ${mode}`,
        pinPath,
        reason: flags.reason,
        before: routes.map(({ route, before }) => ({ route, override: before })),
        after: routes.map(({ route, after }) => ({
          route,
          override: after,
          ...(after === null ? {} : { ttlMs, ratePerSecond: flags.rate, burst: flags.burst }),
        })),
      });
      if (problem !== undefined) this.say(problem);
    }
    this.answer<ModeSet>(
      {
        schemaVersion: 1,
        mode,
        ttlMs: mode === 'auto' ? null : ttlMs,
        routes,
        dryRun: flags['dry-run'],
      },
      render,
    );
  }
}

function render({ routes, ttlMs, dryRun }: ModeSet): string {
  const table = renderTable(
    routes,
    [
      { head: 'ROUTE', cell: ({ route }) => route },
      { head: 'BEFORE', cell: ({ before }) => before ?? 'auto' },
      { head: dryRun ? 'WOULD BE' : 'NOW', cell: ({ after }) => after ?? 'auto' },
      { head: 'FOR', align: 'right', cell: () => showDuration(ttlMs) },
    ],
    { headers: true, wide: false },
  );
  return table;
}
