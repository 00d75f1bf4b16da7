// Builds the addon for this machine, where the one that came with nity does not fit. It
// must not import what loads the addon.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { dirname, join, delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';

import { NityError } from '../errors.js';

const sources = fileURLToPath(new URL('../../../bpf', import.meta.url));
const needs =
  'It needs make, a C and a C++ compiler, and the headers of libbpf 1.1 and libuv ' +
  '(Debian: apt install make g++ libbpf-dev libuv1-dev).';

export interface BuiltAddon {
  readonly addon: string;
  /** Of the library that it found to run with. */
  readonly libbpf: string;
}

/** `tell` gets what the build prints, line for line or in parts. */
export async function buildAddon(tell: (output: string) => void): Promise<BuiltAddon> {
  requireWritable();
  const output: string[] = [];
  const code = await make((text) => {
    output.push(text);
    tell(text);
  });
  if (code !== 0) {
    const lines = output.join('').split('\n');
    const first = lines.find((line) => /error|not found|No such file/i.test(line));
    throw new NityError(
      'BUILD_FAILED',
      1,
      `The addon could not be built${first === undefined ? '' : `: ${first.trim()}`}.`,
      needs,
    );
  }
  const addon = join(sources, 'build/nity.node');
  return { addon, libbpf: libbpfOf(addon) };
}

function requireWritable(): void {
  try {
    accessSync(sources, constants.W_OK);
  } catch (error) {
    throw new NityError(
      'NO_PRIVILEGE',
      3,
      `The addon belongs in ${sources}, which may not be written to.`,
      'Run it as who installed nity, or with sudo.',
      error,
    );
  }
}

/** Its exit code; what is printed on both streams goes to `tell`. */
function make(tell: (output: string) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    // -B: what lies there from another machine may be newer than its sources.
    // The headers of Node's interface are found by asking a Node: this one, if need be.
    const path = [process.env['PATH'] ?? '', dirname(process.execPath)].join(delimiter);
    const child = spawn('make', ['-C', sources, '--no-print-directory', '-B', '-j2', 'addon'], {
      env: { ...process.env, PATH: path },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', tell);
    }
    child.on('error', (error) => {
      reject(new NityError('BUILD_FAILED', 1, 'There is no make here.', needs, error));
    });
    child.on('close', (code) => {
      resolve(code ?? 1);
    });
  });
}

/** Loaded by another process: this one may have failed to already, and would remember. */
function libbpfOf(addon: string): string {
  const script = `process.stdout.write(require(${JSON.stringify(addon)}).libbpfVersion())`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], {
    encoding: 'utf8',
  });
  if (status === 0) return stdout;
  const why = /^Error: (.*)$/m.exec(stderr)?.[1] ?? `it ends with ${status ?? 'a signal'}`;
  throw new NityError('BUILD_FAILED', 1, `The addon was built and does not load: ${why}.`, needs);
}
