// What every command is: the common flags, one answer on stdout for people or
// for machines, one way to fail.
import { Command, Flags, type Interfaces } from '@oclif/core';

import { UsageError } from '../errors.js';
import { chooseColour, type ColourChoice } from './colour.js';
import { reportError } from './failure.js';
import { toJson } from './json.js';

export const common = {
  'pin-path': Flags.string({
    summary: 'where the dataplane is pinned',
    default: '/sys/fs/bpf/nity',
    env: 'NITY_PIN_PATH',
    helpGroup: 'COMMON',
  }),
  color: Flags.option({
    options: ['auto', 'always', 'never'] as const,
    summary: 'colour the output',
    default: 'auto' as const,
    env: 'NITY_COLOR',
    helpGroup: 'COMMON',
  })(),
};

export const jsonFlag = {
  json: Flags.boolean({ summary: 'one JSON document on stdout', helpGroup: 'COMMON' }),
};

export const tableFlags = {
  ...jsonFlag,
  'no-headers': Flags.boolean({ summary: 'leave out the head of the table' }),
  output: Flags.option({ char: 'o', options: ['wide'] as const, summary: 'show more columns' })(),
  watch: Flags.boolean({
    char: 'w',
    summary: 'print again every second, as JSON lines with --json',
  }),
};

export const cgroupFlag = {
  cgroup: Flags.directory({
    summary: 'cgroup v2 directory to attach to; by default the root of the hierarchy',
    env: 'NITY_CGROUP',
    helpGroup: 'COMMON',
  }),
};

export const latencyFlag = {
  latency: Flags.option({
    options: ['first-byte', 'connect'] as const,
    summary: 'what is measured of backends; by default first-byte, or what is loaded already',
    env: 'NITY_LATENCY',
  })(),
};

export const changeFlags = {
  ...jsonFlag,
  'dry-run': Flags.boolean({
    summary: 'say what would be done, and change nothing',
    default: false,
  }),
  reason: Flags.string({ summary: 'why, for the audit log' }),
  'audit-log': Flags.string({
    summary: 'where changes are written down',
    default: '/var/log/nity/audit.jsonl',
    env: 'NITY_AUDIT_LOG',
  }),
};

/** What an operator imposes on a node ends by itself, and after a week at the latest. */
export const imposedMostMs = 7 * 24 * 3_600_000;

export const epochFlag = {
  'expect-epoch': Flags.string({ summary: 'refuse if the epoch is another by now' }),
};

/** As it is expected; undefined where nothing is. */
export function expectedEpoch(flags: { 'expect-epoch'?: string | undefined }): bigint | undefined {
  const text = flags['expect-epoch'];
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return BigInt(text);
  throw new UsageError(`${text} is not an epoch.`, 'Take the number from `nity inspect field`.');
}

export type FlagsOf<T extends typeof Command> = Interfaces.InferredFlags<T['flags']>;

/** Every JSON document says which version of its shape it has. */
export interface Answer {
  readonly schemaVersion: 1;
}

export abstract class NityCommand<T extends typeof Command> extends Command {
  static override enableJsonFlag = false;
  /** Aborted when whoever reads stdout has seen enough, as head(1) has. */
  protected readonly unread = new AbortController();
  protected flags!: FlagsOf<T>;
  protected args!: Interfaces.InferredArgs<T['args']>;

  override async init(): Promise<void> {
    await super.init();
    process.stdout.once('error', () => {
      this.unread.abort();
    });
    const { flags, args } = await this.parse({
      flags: this.ctor.flags,
      args: this.ctor.args,
      strict: this.ctor.strict,
    });
    this.flags = flags as FlagsOf<T>;
    this.args = args as Interfaces.InferredArgs<T['args']>;
    chooseColour((flags as { color?: ColourChoice }).color ?? 'auto');
  }

  /** Prints the answer once: the document for machines, or its rendering for people. */
  protected answer<A extends Answer>(document: A, render: (document: A) => string): void {
    const json = (this.flags as { json?: boolean }).json === true;
    const text = json ? toJson(document) : render(document);
    // A table of nothing, without its heads, is no line.
    if (text !== '') process.stdout.write(`${text}\n`);
  }

  /** For people only, and never on stdout. */
  protected say(message: string): void {
    process.stderr.write(`${message}\n`);
  }

  override async catch(error: Error): Promise<void> {
    await Promise.resolve();
    // oclif's own --json handling loses exit codes; flags may not have been parsed yet.
    process.exitCode = reportError(error, this.argv.includes('--json'));
  }
}
