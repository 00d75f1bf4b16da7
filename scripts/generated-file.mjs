// A file that is generated and committed: written when it differs, or, with
// --check, only told to be stale.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import prettier from 'prettier';

/** `path` is from the project's root; `source` is formatted as the project formats, if `parser` is named. */
export async function keep(path, source, parser) {
  const target = fileURLToPath(new URL(`../${path}`, import.meta.url));
  const options = await prettier.resolveConfig(target);
  const text = parser === null ? source : await prettier.format(source, { ...options, parser });
  let present = '';
  try {
    present = readFileSync(target, 'utf8');
  } catch {
    // Not there yet: stale by definition.
  }
  if (present === text) return;
  if (process.argv.includes('--check')) {
    console.error(`${path} is stale. Run: npm run build, and commit the result.`);
    process.exitCode = 1;
    return;
  }
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
}
