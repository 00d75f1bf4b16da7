import { isIPv4 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Args, Flags } from '@oclif/core';

import { common, NityCommand, type Answer } from '../lib/cli/command.js';
import { parseDuration } from '../lib/cli/duration.js';
import { toJson } from '../lib/cli/json.js';
import {
  describeGap,
  describeTotals,
  TraceView,
  type TracedDecision,
  type TraceTotals,
} from '../lib/cli/trace-view.js';
import { ipv4ToNumber } from '../lib/dataplane/ipv4.js';
import {
  budgetMost,
  Listener,
  outcomeNames,
  type Decision,
  type OutcomeName,
  type Wanted,
} from '../lib/dataplane/listener.js';
import { selectRoutes } from '../lib/dataplane/override.js';
import type { Plane } from '../lib/dataplane/plane.js';
import { Snapshot } from '../lib/dataplane/snapshot.js';
import { errnoOf, InputError, UsageError } from '../lib/errors.js';
import { podOfCgroup } from '../lib/kubernetes/pod-of-cgroup.js';

/** A line of --json. */
interface Traced extends Answer, Omit<TracedDecision, 'atMs'> {
  readonly time: string;
  /** Decisions that were asked for and left out since the line before. */
  readonly droppedBefore: number;
}

/** Often enough for a person, and for the ring to hold what comes in between. */
const lookEveryMs = 100;
const checkEveryMs = 1000;
const groups = ['picked', 'refused'] as const;
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export default class Trace extends NityCommand<typeof Trace> {
  static override summary = 'Decisions of the kernel as they happen.';
  static override description =
    'Shows who connects, to which route, and which slot and backend it was given or why it was ' +
    'refused. The kernel itself chooses by the filters and tells no more than --budget a second; ' +
    'what is left out is counted and said. Needs no agent. Nothing is told while nobody listens, ' +
    'and a trace that is killed ends in the kernel within 3 s.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> shop/cart:http --outcome refused',
    '<%= config.bin %> <%= command.id %> --backend 10.1.2.3:8080 --count 20',
    '<%= config.bin %> <%= command.id %> --pid 4711 --for 10s --json',
  ];
  static override args = {
    route: Args.string({ description: 'only this route, by name or address' }),
  };
  static override flags = {
    ...common,
    json: Flags.boolean({ summary: 'a JSON document a line', helpGroup: 'COMMON' }),
    'no-headers': Flags.boolean({ summary: 'leave out the head of the table' }),
    route: Flags.string({ summary: 'only this route, by name or address' }),
    backend: Flags.string({ summary: 'only this backend, by ip:port' }),
    outcome: Flags.option({
      options: [...groups, ...outcomeNames],
      summary: 'only these outcomes; may be given again',
      multiple: true,
    })(),
    pid: Flags.integer({ summary: 'only connects of this process', min: 1 }),
    count: Flags.integer({ summary: 'end after so many decisions', min: 1 }),
    for: Flags.string({ summary: 'end after this time, as 10s' }),
    budget: Flags.integer({
      summary: 'decisions a second that the kernel tells at most',
      min: 1,
      max: budgetMost,
      default: 1000,
    }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const forMs = flags.for === undefined ? Infinity : parseDuration(flags.for, '--for');
    const listener = Listener.begin(flags['pin-path'], (plane) => this.wanted(plane), flags.budget);
    const stop = new AbortController();
    const onSignal = () => {
      stop.abort();
    };
    // `nity trace | head` ends like Ctrl-C does: nobody reads any more.
    const onBroken = (error: Error) => {
      if (errnoOf(error) !== 'EPIPE') throw error;
      stop.abort();
    };
    for (const signal of endings) process.on(signal, onSignal);
    process.stdout.on('error', onBroken);
    try {
      await this.follow(listener, forMs, stop.signal);
    } finally {
      listener.end();
      for (const signal of endings) process.off(signal, onSignal);
    }
  }

  private async follow(listener: Listener, forMs: number, stopped: AbortSignal): Promise<void> {
    const { json, budget, count = Infinity, 'no-headers': noHeaders } = this.flags;
    const view = new TraceView(process.stdout.isTTY ? process.stdout.columns : undefined);
    const totals = { picked: 0, refused: 0, overBudget: 0, ringFull: 0, deafMs: 0, forMs: 0 };
    const begunMs = performance.now();
    let checkedMs = begunMs;
    this.say(this.greeting(listener.sampleEvery));
    if (!json && !noHeaders) process.stdout.write(`${view.heading()}\n`);
    for (let more = true; more;) {
      const leftMs = forMs - (performance.now() - begunMs);
      await sleep(Math.min(lookEveryMs, Math.max(0, leftMs)), undefined, {
        signal: stopped,
      }).catch(() => undefined);
      totals.forMs = performance.now() - begunMs;
      const heard = listener.hear();
      const shown = heard.decisions.slice(0, count - totals.picked - totals.refused);
      const dropped = heard.overBudget + heard.ringFull;
      this.show(shown, dropped, view);
      this.tell(heard);
      add(totals, shown, heard);
      more = !stopped.aborted && totals.forMs < forMs && totals.picked + totals.refused < count;
      if (more && performance.now() - checkedMs >= checkEveryMs) {
        checkedMs = performance.now();
        listener.requireStillLoaded();
      }
    }
    this.say(describeTotals(totals, budget));
  }

  private show(decisions: readonly Decision[], dropped: number, view: TraceView): void {
    const lines = decisions.map((decision, i) => {
      const { atMs, ...rest } = decision;
      const pod = decision.cgroup === null ? null : podOfCgroup(decision.cgroup);
      if (!this.flags.json) return view.decision({ ...decision, pod });
      const time = new Date(atMs).toISOString();
      const droppedBefore = i === 0 ? dropped : 0;
      return toJson({ schemaVersion: 1, time, ...rest, pod, droppedBefore } satisfies Traced);
    });
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  }

  private tell(heard: Pick<TraceTotals, 'overBudget' | 'ringFull' | 'deafMs'>): void {
    const gap = describeGap(heard, this.flags.budget);
    if (gap !== undefined) this.say(`… ${gap}`);
  }

  private greeting(sampleEvery: number): string {
    const thinned =
      sampleEvery === 1
        ? ''
        : `, one in ${sampleEvery} of each route (the agent's knob sampleEvery)`;
    return `Listening, for at most ${this.flags.budget} decisions a second${thinned}. Ctrl-C ends it.`;
  }

  private wanted(plane: Plane): Wanted {
    const { route: flag, backend, outcome, pid } = this.flags;
    const { route: word } = this.args;
    if (flag !== undefined && word !== undefined && flag !== word) {
      throw new UsageError(
        `Two routes are asked for: ${word} and ${flag}.`,
        'Name one, or leave both out and filter the lines.',
      );
    }
    const route = flag ?? word;
    const snapshot = new Snapshot(plane);
    return {
      route: route === undefined ? undefined : selectRoutes(snapshot.routes(), route)[0]?.index,
      backend: backend === undefined ? undefined : backendOf(snapshot, backend),
      outcomes: outcome?.flatMap(named),
      pid,
    };
  }
}

function add(
  totals: { -readonly [K in keyof TraceTotals]: TraceTotals[K] },
  shown: readonly Decision[],
  heard: Pick<TraceTotals, 'overBudget' | 'ringFull' | 'deafMs'>,
): void {
  const refused = shown.filter(({ outcome }) => outcome.startsWith('refused')).length;
  totals.refused += refused;
  totals.picked += shown.length - refused;
  totals.overBudget += heard.overBudget;
  totals.ringFull += heard.ringFull;
  totals.deafMs += heard.deafMs;
}

/** A group stands for all its outcomes. */
function named(word: (typeof groups)[number] | OutcomeName): readonly OutcomeName[] {
  return outcomeNames.filter(
    (name) => name === word || ((word === 'picked' || word === 'refused') && name.startsWith(word)),
  );
}

function backendOf(snapshot: Snapshot, text: string): { address: number; port: number } {
  const [address = '', port = '', ...rest] = text.split(':');
  if (rest.length > 0 || !isIPv4(address) || !/^\d{1,5}$/.test(port)) {
    throw new UsageError(`--backend ${text} is no address.`, 'Write it as 10.1.2.3:8080.');
  }
  if (!snapshot.backends().some(({ backend }) => backend === text)) {
    throw new InputError(
      `There is no backend ${text}.`,
      'Take an address from `nity inspect backends`.',
    );
  }
  return { address: ipv4ToNumber(address), port: Number(port) };
}
