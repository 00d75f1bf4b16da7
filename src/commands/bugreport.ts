import { Flags } from '@oclif/core';
import { rmSync, writeFileSync } from 'node:fs';
import type { Writable } from 'node:stream';

import { logAction } from '../lib/audit/operator-log.js';
import { newArchiveFile, writeArchive } from '../lib/bugreport/archive.js';
import { collect } from '../lib/bugreport/collect.js';
import { assemble, type Manifest } from '../lib/bugreport/report.js';
import { changeFlags, common, jsonFlag, NityCommand, type Answer } from '../lib/cli/command.js';
import { settingsOf } from '../lib/cli/settings.js';
import { notWritten, writing } from '../lib/cli/writing.js';
import { UsageError } from '../lib/errors.js';

interface Reported extends Answer, Pick<Manifest, 'redacted' | 'files' | 'missing'> {
  readonly archive: string;
  readonly legend: string | null;
}

export default class BugReportCommand extends NityCommand<typeof BugReportCommand> {
  static override summary = 'All that a bug report needs, in one archive.';
  static override description =
    'Versions, kernel, maps, field, what the agent explains, the last minutes of the flight ' +
    'recorder, the doctor’s checks, knobs and the audit log. It works with the agent dead and ' +
    'without root, and says what it could not get. Secrets are never in it; --redact masks ' +
    'addresses, names and paths too, the same one always alike.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --redact -o report.tar.gz --legend legend.json',
    '<%= config.bin %> <%= command.id %> -o - > report.tar.gz',
  ];
  static override flags = {
    ...common,
    ...jsonFlag,
    output: Flags.string({
      char: 'o',
      summary: 'where the archive goes; - for stdout, and then nothing else does',
    }),
    redact: Flags.boolean({
      summary: 'mask addresses, names and paths; leave out traces',
      default: false,
    }),
    legend: Flags.string({ summary: 'with --redact: where to write what each mask stands for' }),
    config: Flags.string({ summary: 'the YAML file of knobs that is in use', env: 'NITY_CONFIG' }),
    reason: changeFlags.reason,
    'audit-log': changeFlags['audit-log'],
  };

  async run(): Promise<void> {
    const { flags } = this;
    if (flags.legend !== undefined && !flags.redact) {
      throw new UsageError(
        '--legend tells what masks stand for.',
        'Add --redact, or leave it out.',
      );
    }
    const madeAt = new Date();
    const name = `nity-bugreport-${madeAt.toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
    const output = flags.output ?? `${name}.tar.gz`;
    // Made before anything is gathered: who may not write there need not wait to learn it.
    const archive = output === '-' ? process.stdout : await newArchiveFile(output);
    const { redacted, files, missing } = await this.fill(archive, name, madeAt).catch(
      (error: unknown) => {
        if (output !== '-') rmSync(output, { force: true });
        throw notWritten(output === '-' ? 'stdout' : output, error);
      },
    );
    this.writeDown(output);
    const answer: Reported = {
      ...{ schemaVersion: 1, archive: output, redacted },
      legend: flags.legend ?? null,
      ...{ files, missing },
    };
    if (output === '-') this.say(render(answer));
    else this.answer<Reported>(answer, render);
  }

  private async fill(archive: Writable, name: string, madeAt: Date): Promise<Manifest> {
    const { flags } = this;
    const { legend } = flags;
    const collected = await collect({
      pinPath: flags['pin-path'],
      auditLog: flags['audit-log'],
      knobs: { file: flags.config, flags: [], environment: process.env },
      settings: this.settings(),
      version: this.config.version,
      traces: flags.redact ? 'replayed' : 'whole',
    });
    const report = assemble(collected, {
      nity: this.config.version,
      madeAt,
      redact: flags.redact,
    });
    if (legend !== undefined) {
      writing(legend, () => {
        writeFileSync(legend, `${JSON.stringify(report.legend, undefined, 2)}\n`, { mode: 0o600 });
      });
    }
    await writeArchive(archive, name, report.files, madeAt);
    return report.manifest;
  }

  /** The variables of flags that are set; what else is in the environment is none of ours. */
  private settings(): Readonly<Record<string, string>> {
    const set = settingsOf(this.config.commands, process.env);
    return Object.fromEntries(
      set.flatMap(({ environment, value, from }): [string, string][] =>
        from === 'default' || value === null ? [] : [[environment, value]],
      ),
    );
  }

  /** Who took what a report holds off the node is worth knowing later; no log, no harm. */
  private writeDown(output: string): void {
    const { flags } = this;
    const problem = logAction(flags['audit-log'], {
      command: 'bugreport',
      pinPath: flags['pin-path'],
      reason: flags.reason,
      before: null,
      after: { archive: output, redacted: flags.redact },
    });
    if (problem !== undefined) this.say(problem);
  }
}

function render({ archive, redacted, legend, files, missing }: Reported): string {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const lines = [
    `${archive === '-' ? 'The archive' : archive}: ${files.length} files, ${Math.ceil(bytes / 1024)} KiB unpacked`,
    ...missing.map(({ path, why }) => `Missing: ${path}: ${why}`),
    redacted
      ? 'Addresses, names and paths are masked; look through it before you pass it on.'
      : 'It holds addresses and names of services: add --redact to mask them.',
    ...(legend === null ? [] : [`What the masks stand for is in ${legend}: keep it to yourself.`]),
  ];
  return lines.join('\n');
}
