// A trace under way: looks at what the listener heard some times a second, writes a line for
// each decision to stdout, and says on stderr what is not in them.
import { setTimeout as sleep } from 'node:timers/promises';

import type { Decision, Heard, Listener } from '../dataplane/listener.js';
import { podOfCgroup } from '../kubernetes/pod-of-cgroup.js';
import type { Answer } from './command.js';
import { toJson } from './json.js';
import { describeGap, describeTotals, TraceView, type TracedDecision } from './trace-view.js';

export interface FollowOptions {
  readonly json: boolean;
  readonly headers: boolean;
  readonly budget: number;
  /** It ends after so many decisions, after so long, or when it is stopped. */
  readonly countMost: number;
  readonly msMost: number;
  readonly stopped: AbortSignal;
}

/** A line of --json. */
interface TracedLine extends Answer, Omit<TracedDecision, 'atMs'> {
  readonly time: string;
  /** Decisions that were asked for and left out since the line before. */
  readonly droppedBefore: number;
}

interface Gap {
  overBudget: number;
  ringFull: number;
  deafMs: number;
}

const noGap: Readonly<Gap> = { overBudget: 0, ringFull: 0, deafMs: 0 };
/** Often enough for a person, and for the ring to hold what comes in between. */
const lookEveryMs = 100;
/** What is left out on a busy node is left out all the time. */
const tellEveryMs = 1000;

export async function followTrace(listener: Listener, options: FollowOptions): Promise<void> {
  const lines = new Lines(options);
  const totals = { picked: 0, refused: 0, forMs: 0, ...noGap };
  let untold: Gap = { ...noGap };
  const begunMs = performance.now();
  let toldMs = -Infinity;
  let checkedMs = begunMs;
  say(greeting(listener.sampleEvery, options.budget));
  lines.begin();
  for (let more = true; more;) {
    const leftMs = options.msMost - (performance.now() - begunMs);
    await nap(Math.min(lookEveryMs, Math.max(0, leftMs)), options.stopped);
    const heard = listener.hear();
    const shown = heard.decisions.slice(0, options.countMost - totals.picked - totals.refused);
    lines.write(shown, heard);
    count(totals, shown);
    for (const gap of [totals, untold]) widen(gap, heard);
    const nowMs = performance.now();
    totals.forMs = nowMs - begunMs;
    if (nowMs - toldMs >= tellEveryMs) {
      const gap = describeGap(untold, options.budget);
      if (gap !== undefined) {
        say(`… ${gap}`);
        toldMs = nowMs;
        untold = { ...noGap };
      }
    }
    more =
      !options.stopped.aborted &&
      totals.forMs < options.msMost &&
      totals.picked + totals.refused < options.countMost;
    if (more && nowMs - checkedMs >= tellEveryMs) {
      listener.requireStillLoaded();
      checkedMs = nowMs;
    }
  }
  lines.end();
  say(describeTotals(totals, options.budget));
}

/** The lines on stdout, for people or for machines. */
class Lines {
  private view = freshView();
  private dropped = 0;
  private readonly onResize = () => {
    this.view = freshView();
  };

  constructor(private readonly options: FollowOptions) {}

  begin(): void {
    process.stdout.on('resize', this.onResize);
    if (!this.options.json && this.options.headers) write([this.view.heading()]);
  }

  write(decisions: readonly Decision[], { overBudget, ringFull }: Heard): void {
    this.dropped += overBudget + ringFull;
    write(decisions.map((decision) => this.line(decision)));
  }

  end(): void {
    process.stdout.off('resize', this.onResize);
  }

  private line(decision: Decision): string {
    const pod = decision.cgroup === null ? null : podOfCgroup(decision.cgroup);
    if (!this.options.json) return this.view.decision({ ...decision, pod });
    const { atMs, ...rest } = decision;
    const time = new Date(atMs).toISOString();
    const droppedBefore = this.dropped;
    this.dropped = 0;
    return toJson({ schemaVersion: 1, time, ...rest, pod, droppedBefore } satisfies TracedLine);
  }
}

function freshView(): TraceView {
  return new TraceView(process.stdout.isTTY ? process.stdout.columns : undefined);
}

function write(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
}

function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

function greeting(sampleEvery: number, budget: number): string {
  const thinned =
    sampleEvery === 1 ? '' : `, one in ${sampleEvery} of each route (the knob sampleEvery)`;
  return `Listening, for at most ${budget} decisions a second${thinned}. Ctrl-C ends it.`;
}

/** Sleeps, and wakes when it is stopped. */
async function nap(ms: number, stopped: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: stopped }).catch((error: unknown) => {
    if (!stopped.aborted) throw error;
  });
}

function count(totals: { picked: number; refused: number }, decisions: readonly Decision[]): void {
  const refused = decisions.filter(({ outcome }) => outcome.startsWith('refused')).length;
  totals.refused += refused;
  totals.picked += decisions.length - refused;
}

function widen(gap: Gap, heard: Heard): void {
  gap.overBudget += heard.overBudget;
  gap.ringFull += heard.ringFull;
  gap.deafMs += heard.deafMs;
}
