import { Args, Flags } from '@oclif/core';

import { backendOf } from '../lib/cli/backend-filter.js';
import { common, NityCommand } from '../lib/cli/command.js';
import { parseDuration } from '../lib/cli/duration.js';
import { followTrace } from '../lib/cli/follow-trace.js';
import {
  budgetMost,
  Listener,
  outcomeNames,
  type OutcomeName,
  type Wanted,
} from '../lib/dataplane/listener.js';
import { selectRoutes } from '../lib/dataplane/override.js';
import type { Plane } from '../lib/dataplane/plane.js';
import { Snapshot } from '../lib/dataplane/snapshot.js';
import { UsageError } from '../lib/errors.js';

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
    const msMost = flags.for === undefined ? Infinity : parseDuration(flags.for, '--for');
    const listener = Listener.begin(flags['pin-path'], (plane) => this.wanted(plane), flags.budget);
    const stop = new AbortController();
    const onSignal = () => {
      stop.abort();
    };
    // `nity trace | head` ends like Ctrl-C does: nobody reads any more.
    for (const signal of endings) process.on(signal, onSignal);
    process.stdout.on('error', onSignal);
    try {
      await followTrace(listener, {
        json: flags.json,
        headers: !flags['no-headers'],
        budget: flags.budget,
        countMost: flags.count ?? Infinity,
        msMost,
        stopped: stop.signal,
      });
    } finally {
      listener.end();
      for (const signal of endings) process.off(signal, onSignal);
    }
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
      route: route === undefined ? undefined : selectRoutes(snapshot.routes(), route)[0]?.handle,
      backend: backend === undefined ? undefined : backendOf(snapshot, backend),
      outcomes: outcome?.flatMap(named),
      pid,
    };
  }
}

/** A group stands for all its outcomes. */
function named(word: (typeof groups)[number] | OutcomeName): readonly OutcomeName[] {
  return outcomeNames.filter(
    (name) => name === word || ((word === 'picked' || word === 'refused') && name.startsWith(word)),
  );
}
