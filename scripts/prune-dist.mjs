// Removes from dist what src no longer has: tsc leaves it there, and oclif would
// go on offering a command that was deleted.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const src = fileURLToPath(new URL('../src', import.meta.url));

if (existsSync(dist)) {
  for (const file of readdirSync(dist, { recursive: true })) {
    if (!file.endsWith('.js')) continue;
    if (!existsSync(`${src}/${file.replace(/\.js$/, '.ts')}`)) rmSync(`${dist}/${file}`);
  }
}
