// Says whether oclif.manifest.json is what the built commands would give. Order
// is not compared: it is the file system's.
import { Plugin, settings } from '@oclif/core';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
settings.enableAutoTranspile = false;

function committed() {
  try {
    return JSON.parse(readFileSync(`${root}/oclif.manifest.json`, 'utf8'));
  } catch {
    return undefined; // Not there, or cut short: stale by definition.
  }
}

// What `oclif manifest` does, without writing.
const plugin = new Plugin({
  errorOnManifestCreate: true,
  ignoreManifest: true,
  respectNoCacheDefault: true,
  root,
  type: 'core',
});
await plugin.load();
const built = JSON.parse(JSON.stringify(plugin.manifest));

if (!isDeepStrictEqual(committed(), built)) {
  console.error('oclif.manifest.json is stale. Run: npm run build, and commit the result.');
  process.exit(1);
}
