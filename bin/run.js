#!/usr/bin/env node
import { settings } from '@oclif/core';

// Or oclif would run src through tsx wherever NODE_ENV is test or development.
settings.enableAutoTranspile = false;

const cli = await import('../dist/lib/cli/run.js').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || process.env.DEBUG) throw error;
  console.error('Error: Nity is not built, or only in part.\n→ Run npm ci && npm run build.');
  process.exit(1);
});
await cli.run(import.meta.url);
