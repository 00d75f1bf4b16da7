#!/usr/bin/env node
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `Error: Nity needs Node 20.19 or newer, and this is ${process.versions.node}.\n` +
      '→ Install a newer Node, or put it first in PATH.',
  );
  process.exit(1);
}

const cli = await import('../dist/lib/cli/run.js').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || process.env.DEBUG) throw error;
  console.error('Error: Nity is not built, or only in part.\n→ Run npm ci && npm run build.');
  process.exit(1);
});
await cli.run(import.meta.url);
