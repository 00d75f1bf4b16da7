// A trace as Chrome's trace events, which ui.perfetto.dev opens: a process a route, with
// its modes and regimes as slices, its slots as a counter, its reasons as instants.
import type { Field } from '../field/types.js';
import type { DatedGap, Replayed } from './replay.js';
import { lookOf, recordedLook, type RouteLook } from './timeline.js';

/** Threads of a route, and of the node. */
const threads = { admission: 1, regime: 2, reasons: 3, ticks: 4, gaps: 5 } as const;
type Thread = keyof typeof threads;
const nodePid = 1;

interface Shown {
  readonly pid: number;
  look: RouteLook | undefined;
}

export interface PerfettoOptions {
  /** What the recorded run did, or what the replay came to. */
  readonly of: 'recorded' | 'replayed';
  readonly route?: string;
  /** Told in the trace. */
  readonly about: Readonly<Record<string, unknown>>;
}

export class PerfettoExport {
  private readonly routes = new Map<string, Shown>();
  private begun = false;
  private nodeRegime: Field['node']['regime'] | undefined;
  private lastUs = 0;

  constructor(
    private readonly write: (text: string) => void,
    private readonly options: PerfettoOptions,
  ) {}

  see(replayed: Replayed): void {
    const { tick, atMs, inputs, field, sequence } = replayed;
    const ts = (this.lastUs = atMs * 1000);
    if (!this.begun) this.name(nodePid, 'node', ['ticks', 'regime', 'gaps']);
    const args = { sequence, dtMs: inputs.dtMs };
    const dur = tick.tookMs === null ? 0 : tick.tookMs * 1000;
    this.event(nodePid, 'ticks', { ph: 'X', name: tick.outcome, ts, dur, args });
    const { of, route: only } = this.options;
    const regime = of === 'recorded' ? tick.node.regime : field.node.regime;
    if (regime !== this.nodeRegime) {
      this.slice(nodePid, 'regime', this.nodeRegime, regime, ts);
      this.nodeRegime = regime;
    }
    inputs.routes.forEach((signals, i) => {
      const [output, here] = [tick.outputs[i], field.routes[i]];
      if (output === undefined || here === undefined) return;
      if (only !== undefined && only !== signals.name) return;
      this.route(of === 'recorded' ? recordedLook(signals, output) : lookOf(here, signals), ts);
    });
    for (const { change, cause } of of === 'recorded' ? tick.reasons : replayed.reasons) {
      const name = `${change.of}: ${cause.kind}`;
      const pid = change.of === 'hold' ? nodePid : this.routes.get(change.route)?.pid;
      if (pid === undefined) continue;
      this.event(pid, 'reasons', { ph: 'i', s: 't', name, ts, args: { change, cause } });
    }
  }

  /** Nothing may come after it. */
  end(gaps: readonly DatedGap[]): void {
    const ts = this.lastUs;
    for (const { atMs, ...gap } of gaps) {
      this.event(nodePid, 'gaps', { ph: 'i', s: 'g', name: gap.why, ts: atMs * 1000, args: gap });
    }
    if (this.nodeRegime !== undefined)
      this.slice(nodePid, 'regime', this.nodeRegime, undefined, ts);
    for (const { pid, look } of this.routes.values()) {
      this.slice(pid, 'admission', look?.mode, undefined, ts);
      this.slice(pid, 'regime', look?.regime, undefined, ts);
    }
    const head = this.begun ? '' : '{"traceEvents":[';
    const { about } = this.options;
    this.write(`${head}\n],"displayTimeUnit":"ms","otherData":${JSON.stringify(about)}}\n`);
  }

  private route(look: RouteLook, ts: number): void {
    let shown = this.routes.get(look.name);
    if (shown === undefined) {
      shown = { pid: nodePid + 1 + this.routes.size, look: undefined };
      this.routes.set(look.name, shown);
      this.name(shown.pid, look.name, ['admission', 'regime', 'reasons']);
    }
    const { pid, look: last } = shown;
    shown.look = look;
    if (last?.mode !== look.mode) this.slice(pid, 'admission', last?.mode, look.mode, ts);
    if (last?.regime !== look.regime) this.slice(pid, 'regime', last?.regime, look.regime, ts);
    const same =
      last?.backends.length === look.backends.length &&
      look.backends.every(
        ({ id, slots }, i) => last.backends[i]?.id === id && last.backends[i].slots === slots,
      );
    if (same) return;
    const args = Object.fromEntries(look.backends.map(({ id, slots }) => [id, slots]));
    this.event(pid, 'admission', { ph: 'C', name: 'slots', ts, args });
  }

  /** Ends one slice of a thread, begins the next. */
  private slice(
    pid: number,
    thread: Thread,
    from: string | undefined,
    to: string | undefined,
    ts: number,
  ): void {
    if (from !== undefined) this.event(pid, thread, { ph: 'E', name: from, ts });
    if (to !== undefined) this.event(pid, thread, { ph: 'B', name: to, ts });
  }

  private name(pid: number, process: string, used: readonly Thread[]): void {
    this.event(pid, 'ticks', { ph: 'M', name: 'process_name', args: { name: process } });
    for (const thread of used) {
      this.event(pid, thread, { ph: 'M', name: 'thread_name', args: { name: thread } });
    }
  }

  private event(pid: number, thread: Thread, event: Readonly<Record<string, unknown>>): void {
    this.write(this.begun ? ',\n' : '{"traceEvents":[\n');
    this.begun = true;
    this.write(JSON.stringify({ pid, tid: threads[thread], ...event }));
  }
}
