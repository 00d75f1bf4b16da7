// The way in: hands the command line to oclif, and turns whatever escapes it
// into one error and one exit code.
import { Config, run as runOclif, settings } from '@oclif/core';
import { fileURLToPath } from 'node:url';

import { reportError } from './failure.js';

export async function run(entry: string): Promise<void> {
  settings.debug = process.env['DEBUG'] !== undefined;
  const argv = process.argv.slice(2);
  try {
    const config = await Config.load({ root: fileURLToPath(new URL('..', entry)) });
    await runOclif(argv, config);
  } catch (error) {
    process.exitCode = reportError(error, argv.includes('--json'));
  }
}
