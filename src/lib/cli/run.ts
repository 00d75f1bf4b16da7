// The way in: hands the command line to oclif, and turns whatever escapes it
// into one error and one exit code.
import { fileURLToPath } from 'node:url';

import { errnoOf } from '../errors.js';
import { reportError } from './failure.js';
import { asksForFrontPage, frontPage } from './front-page.js';
import { isUnknownCommand, unknownCommand } from './unknown-command.js';
import { notWritten } from './writing.js';

export async function run(entry: string): Promise<void> {
  const argv = process.argv.slice(2);
  const root = fileURLToPath(new URL('..', entry));
  process.stdout.on('error', endUnheard);
  try {
    if (asksForFrontPage(argv)) {
      process.stdout.write(`${frontPage(root, process.stdout.columns)}\n`);
      return;
    }
    await runCommand(argv, root);
  } catch (error) {
    process.exitCode = reportError(error, argv.includes('--json'));
  }
}

/** A full disk below stdout, say. That nobody reads any more, as after head(1), is no failure. */
function endUnheard(error: Error): void {
  if (errnoOf(error) === 'EPIPE') return;
  process.exit(reportError(notWritten('stdout', error), false));
}

/** oclif is most of what a short command waits for, so it is loaded only for one. */
async function runCommand(argv: string[], root: string): Promise<void> {
  // oclif would load all of semver to compare Node's version with its own, older need.
  process.env['OCLIF_DISABLE_ENGINE_WARNING'] ??= '1';
  const { Config, run: runOclif, settings } = await import('@oclif/core');
  // Or oclif would run src through tsx wherever NODE_ENV is test or development.
  settings.enableAutoTranspile ??= false;
  settings.debug = process.env['DEBUG'] !== undefined;
  // A command line of root's runs nothing that somebody put into a home directory.
  const config = await Config.load({ root, userPlugins: false });
  await runOclif(argv, config).catch((error: unknown) => {
    throw isUnknownCommand(error) ? unknownCommand(argv, config.commands) : error;
  });
}
