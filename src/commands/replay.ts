import { Args, Flags } from '@oclif/core';
import { closeSync, openSync, appendFileSync } from 'node:fs';

import { common, jsonFlag, NityCommand } from '../lib/cli/command.js';
import { parseDuration } from '../lib/cli/duration.js';
import { renderReplay } from '../lib/cli/replay-view.js';
import { writing } from '../lib/cli/writing.js';
import { makeKnobs } from '../lib/config/knobs.js';
import { knobsSet } from '../lib/config/load.js';
import { InputError, UsageError } from '../lib/errors.js';
import { InvariantMonitor } from '../lib/harness/invariants/monitor.js';
import { PerfettoExport } from '../lib/recorder/perfetto.js';
import { isSound, replay, retuned } from '../lib/recorder/replay.js';
import { documentOf, reportOf, type ReplayDocument } from '../lib/recorder/report.js';
import { Summary } from '../lib/recorder/summary.js';
import { openTrace } from '../lib/recorder/trace.js';

const writeAtOnce = 1 << 16;

export default class Replay extends NityCommand<typeof Replay> {
  static override summary = 'Ask the law again what it said in a trace.';
  static override description =
    'Runs the control loop over the signals that `nity run-agent` recorded, compares each field, ' +
    'its reasons and the state behind it bit for bit, and checks the invariants. Exit 1 at a ' +
    'divergence or a violation. A trace of another version of the law is shown and checked, but ' +
    'not compared. With --knob, other knobs are tried on the same signals, and what they change ' +
    'is shown.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> /var/lib/nity/traces',
    '<%= config.bin %> <%= command.id %> nity.trace --from 5s --to 10s --route shop/cart:http',
    '<%= config.bin %> <%= command.id %> nity.trace --knob viscosity=0.1',
    '<%= config.bin %> <%= command.id %> nity.trace --export perfetto --output nity.json',
  ];
  static override args = {
    trace: Args.string({ required: true, description: 'a trace, or a directory of its files' }),
  };
  static override flags = {
    color: common.color,
    ...jsonFlag,
    'no-headers': Flags.boolean({ summary: 'leave out the heads of the tables' }),
    from: Flags.string({ summary: 'begin so long after the trace does' }),
    to: Flags.string({ summary: 'end so long after the trace begins' }),
    route: Flags.string({ summary: 'compare and show this route alone' }),
    knob: Flags.string({
      summary: 'try another value, as name=value',
      multiple: true,
      default: [],
    }),
    export: Flags.option({
      options: ['perfetto'] as const,
      summary: 'write it as trace events, for ui.perfetto.dev',
    })(),
    output: Flags.string({
      char: 'o',
      summary: 'where the export goes; by default stdout, and nothing else does then',
    }),
  };

  async run(): Promise<void> {
    await Promise.resolve();
    const { flags, args } = this;
    const { route } = flags;
    const { fromMs, toMs } = this.span();
    const knobs = knobsSet(flags.knob);
    const tried = flags.knob.length > 0;
    const output = this.output();
    const trace = openTrace(args.trace);
    const summary = new Summary(route);
    const perfetto =
      output &&
      new PerfettoExport(output.write, {
        of: tried ? 'replayed' : 'recorded',
        about: { trace: trace.path, knobs, host: trace.first.header.host },
        ...(route === undefined ? {} : { route }),
      });
    const replayed = replay(trace, {
      fromMs,
      toMs,
      ...(route === undefined ? {} : { route }),
      ...(tried ? { retune: retuned((recorded) => makeKnobs({ ...recorded, ...knobs })) } : {}),
      watch: new InvariantMonitor(),
      onTick(seen) {
        summary.see(seen);
        perfetto?.see(seen);
      },
    });
    perfetto?.end(replayed.gaps);
    output?.close();
    if (replayed.ticks === 0) {
      throw new InputError(
        `There is no tick in that part of ${args.trace}.`,
        'Leave out --from and --to to see how long it is.',
      );
    }
    if (route !== undefined && summary.replayed.routes.length === 0) {
      throw new InputError(
        `${args.trace} has no route ${route}.`,
        'Routes are named namespace/service:port; without --route all of them are shown.',
      );
    }
    const report = reportOf(trace, replayed, summary, knobs);
    if (output === undefined || flags.output !== undefined) {
      this.answer<ReplayDocument>(documentOf(report), () =>
        renderReplay(report, { headers: !flags['no-headers'], wide: false }),
      );
    }
    process.exitCode = isSound(replayed) ? 0 : 1;
  }

  private span(): { readonly fromMs: number; readonly toMs: number } {
    const { from, to } = this.flags;
    const fromMs = from === undefined ? 0 : parseDuration(from, '--from');
    const toMs = to === undefined ? Infinity : parseDuration(to, '--to');
    if (fromMs > toMs) {
      throw new UsageError(`--from ${from ?? ''} is after --to ${to ?? ''}.`, 'Turn them round.');
    }
    return { fromMs, toMs };
  }

  private output(): { write: (text: string) => void; close: () => void } | undefined {
    const { export: format, output: path } = this.flags;
    if (format === undefined && path !== undefined) {
      throw new UsageError(
        '--output is where an export goes, and none was asked for.',
        'Add --export perfetto.',
      );
    }
    if (format === undefined) return undefined;
    if (path === undefined) {
      return { write: (text) => process.stdout.write(text), close: () => undefined };
    }
    let file = 0;
    let waiting = '';
    const drain = () => {
      writing(path, () => {
        appendFileSync(file, waiting);
      });
      waiting = '';
    };
    writing(path, () => {
      file = openSync(path, 'w');
    });
    return {
      write(text) {
        waiting += text;
        if (waiting.length >= writeAtOnce) drain();
      },
      close() {
        drain();
        closeSync(file);
      },
    };
  }
}
