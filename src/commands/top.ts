import { Flags } from '@oclif/core';
import { setTimeout as sleep } from 'node:timers/promises';

import { common, jsonFlag, NityCommand, type Answer } from '../lib/cli/command.js';
import { parseDuration } from '../lib/cli/duration.js';
import type { TopFrame } from '../lib/cli/top/frame.js';
import { liveTop, onceTop } from '../lib/cli/top/session.js';
import { firstView, shownRoutes, sortKeys, type View } from '../lib/cli/top/view.js';
import { TopWatcher } from '../lib/cli/top/watcher.js';
import { routeNamed } from '../lib/dataplane/override.js';

interface TopDocument extends Answer, Omit<TopFrame, 'field' | 'explained'> {
  readonly field: Omit<TopFrame['field'], 'regime'>;
}

function documentOf(frame: TopFrame, view: View): TopDocument {
  const { host, regime, latency, stalls, agent, changes } = frame;
  const routes = shownRoutes(frame, view).filter(
    ({ route }) => view.route === null || route === view.route,
  );
  const { epoch, heldEpoch, activeTable, heartbeatAgeMs, failsafeMode } = frame.field;
  const { tableEpochs, projectionHeldMs, agentPid } = frame.field;
  return {
    schemaVersion: 1,
    host,
    field: {
      epoch,
      heldEpoch,
      activeTable,
      heartbeatAgeMs,
      failsafeMode,
      tableEpochs,
      projectionHeldMs,
      agentPid,
    },
    regime,
    latency,
    routes,
    stalls,
    agent,
    changes,
  };
}

const intervalBounds = { leastMs: 100, mostMs: 3_600_000 };
/** Of a pipe, which has no width: the widest at which every column is useful. */
const pipeColumns = 160;

export default class Top extends NityCommand<typeof Top> {
  static override summary = 'Live view: routes, modes, rates, latency, slots as bars, reasons.';
  static override description =
    'Reads the maps and changes nothing; works with the agent dead, without its reasons and ' +
    'pressures. Press ? for its keys. Where stdout is no terminal it prints one picture.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --sort p95 --filter shop/ --interval 2s',
    '<%= config.bin %> <%= command.id %> --once --json',
  ];
  static override flags = {
    ...common,
    ...jsonFlag,
    interval: Flags.string({ summary: 'time between two pictures', default: '1s' }),
    once: Flags.boolean({ summary: 'one picture with the rates of one interval, and no keys' }),
    sort: Flags.option({
      options: sortKeys,
      default: 'rate' as const,
      summary: 'column to sort by',
    })(),
    filter: Flags.string({
      summary: 'only routes whose name contains this text',
      default: '',
    }),
    route: Flags.string({ summary: 'look into this route at once, by name or address' }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const intervalMs = parseDuration(flags.interval, '--interval', intervalBounds);
    const route = flags.route === undefined ? null : routeNamed(flags['pin-path'], flags.route);
    const view = {
      ...firstView,
      ...{ sort: flags.sort, filter: flags.filter },
      ...{ route, selected: route },
    };
    const watcher = new TopWatcher(flags['pin-path']);
    try {
      if (process.stdout.isTTY && !flags.once && !flags.json) {
        await liveTop(watcher, view, intervalMs);
        return;
      }
      await watcher.frame(null);
      await sleep(intervalMs);
      const frame = await watcher.frame(view.route);
      const columns = process.stdout.isTTY ? process.stdout.columns : pipeColumns;
      this.answer(documentOf(frame, view), () => onceTop(frame, view, columns));
    } finally {
      watcher.close();
    }
  }
}
