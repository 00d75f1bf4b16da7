import { Flags } from '@oclif/core';
import { setTimeout as sleep } from 'node:timers/promises';

import { palette } from '../lib/cli/colour.js';
import { common, jsonFlag, NityCommand, tableFlags } from '../lib/cli/command.js';
import { parseDuration } from '../lib/cli/duration.js';
import { toJson } from '../lib/cli/json.js';
import { counted } from '../lib/cli/numbers.js';
import { Lines } from '../lib/cli/trace/line.js';
import { isWanted, outcomeWords, told, type Wanted } from '../lib/cli/trace/told.js';
import { cgroupRoot } from '../lib/dataplane/cgroup.js';
import { CgroupNames } from '../lib/dataplane/cgroup-names.js';
import { selectRoutes } from '../lib/dataplane/override.js';
import { openPlane } from '../lib/dataplane/pins.js';
import type { Plane } from '../lib/dataplane/plane.js';
import { Snapshot } from '../lib/dataplane/snapshot.js';
import { Tracer, type Untold } from '../lib/dataplane/tracer.js';

const everyMs = 50;
/** What is not told is told of once a second. */
const untoldEveryMs = 1_000;

interface Chosen {
  readonly wanted: Wanted;
  /** The one route that the kernel itself can pass over all others for. */
  readonly index: number | null;
}

export default class Trace extends NityCommand<typeof Trace> {
  static override summary = 'Decisions as they are made: who dialled, and which backend it got.';
  static override description =
    'The kernel tells its decisions only while this runs, and no more than --limit in a second; ' +
    'what is beyond is counted. It needs no agent. Ctrl-C ends it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --route shop/cart:http --outcome refused',
    '<%= config.bin %> <%= command.id %> --pid 4711 --count 10 --json',
  ];
  static override flags = {
    ...common,
    ...jsonFlag,
    'no-headers': tableFlags['no-headers'],
    output: tableFlags.output,
    route: Flags.string({ summary: 'only this route, by name or address' }),
    backend: Flags.string({ summary: 'only this backend, by ip:port' }),
    outcome: Flags.option({
      options: outcomeWords,
      summary: 'only what ended so: picked, refused, or one way of either',
    })(),
    pid: Flags.integer({ summary: 'only connects of this process', min: 1 }),
    count: Flags.integer({ char: 'n', summary: 'end after so many decisions', min: 1 }),
    for: Flags.string({ summary: 'end after this time, as 30s' }),
    limit: Flags.integer({
      summary: 'most decisions a second that the kernel tells',
      default: 1_000,
      min: 10,
      max: 1_000_000,
    }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const forMs = flags.for === undefined ? Infinity : parseDuration(flags.for, '--for');
    const plane = openPlane(flags['pin-path']);
    try {
      const { wanted, index } = this.chosen(plane);
      const tracer = await Tracer.begin(plane, { route: index, mostPerSecond: flags.limit });
      try {
        await this.tell(plane, tracer, wanted, performance.now() + forMs);
      } finally {
        tracer.close();
      }
    } finally {
      plane.close();
    }
  }

  private chosen(plane: Plane): Chosen {
    const { route, backend, outcome, pid } = this.flags;
    const views = route === undefined ? [] : selectRoutes(new Snapshot(plane).routes(), route);
    const routes = route === undefined ? undefined : new Set(views.map(({ name }) => name));
    const only = views.length === 1 ? views[0] : undefined;
    return { wanted: { routes, backend, outcome, pid }, index: only?.index ?? null };
  }

  /** Until enough were told, the time is over, or somebody ends it. */
  private async tell(plane: Plane, tracer: Tracer, wanted: Wanted, endMs: number): Promise<void> {
    const { count = Infinity, limit, json } = this.flags;
    const names = new CgroupNames(cgroupRoot());
    const beganMs = Date.now() - Number(plane.nowNs()) / 1e6;
    const wallMs = (timeNs: bigint) => beganMs + Number(timeNs) / 1e6;
    const { isTTY, columns } = process.stdout;
    const lines = new Lines(
      isTTY ? columns : null,
      this.flags.output === 'wide',
      palette('stdout'),
    );
    const stop = this.unread;
    const end = () => {
      stop.abort();
    };
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
    if (!json && !this.flags['no-headers']) process.stdout.write(`${lines.head()}\n`);
    let shown = 0;
    let passed = 0;
    let reported: Untold = { rationed: 0, lost: 0 };
    let reportMs = performance.now() + untoldEveryMs;
    for (let last = false; !last;) {
      last = stop.signal.aborted || performance.now() >= endMs;
      tracer.renew();
      let text = '';
      for (const decision of tracer.take()) {
        const one = told(decision, wallMs, names.find(decision.cgroup, performance.now()));
        if (!isWanted(one, wanted)) {
          passed++;
          continue;
        }
        if (shown >= count) break;
        shown++;
        text += `${json ? toJson(one) : lines.row(one)}\n`;
      }
      if (text !== '') process.stdout.write(text);
      last ||= shown >= count;
      if (last || performance.now() >= reportMs) {
        reportMs = performance.now() + untoldEveryMs;
        const untold = tracer.untold();
        if (untold.rationed > reported.rationed || untold.lost > reported.lost) {
          this.tellUntold(untold, limit);
          reported = untold;
        }
      }
      if (!last) await sleep(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end);
    this.say(
      `${counted(shown, 'decision')} told` +
        (passed === 0 ? '' : `, ${passed} passed over by the filters`),
    );
  }

  /** For machines within the stream, for people beside it. */
  private tellUntold({ rationed, lost }: Untold, limit: number): void {
    if (this.flags.json) {
      process.stdout.write(`${toJson({ kind: 'untold', schemaVersion: 1, rationed, lost })}\n`);
      return;
    }
    const parts = [
      ...(rationed === 0
        ? []
        : [`${counted(rationed, 'decision')} beyond ${limit} a second (--limit)`]),
      ...(lost === 0 ? [] : [`${lost} lost since the ring was full`]),
    ];
    this.say(`not told so far: ${parts.join(', ')}`);
  }
}
