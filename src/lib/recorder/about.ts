// Who records: nity's version and build, Node, the kernel, the node.
import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

import { lawVersion } from '../field/law.js';
import type { TraceAbout } from './records.js';

const root = join(import.meta.dirname, '../../..');
const manifest = z.object({ version: z.string() });
/** The rooms whose code decides what a tick comes to. */
const law = ['field', 'config'];
const buildDigits = 12;

export function aboutHere(phase: number): TraceAbout {
  return {
    nity: manifest.parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))).version,
    law: lawVersion,
    build: lawBuild(),
    node: process.version,
    kernel: release(),
    host: hostname(),
    phase,
    run: randomUUID(),
  };
}

/** A digest of the law's own code: two nity that agree in it come to the same fields. */
function lawBuild(): string {
  const digest = createHash('sha256');
  for (const room of law) {
    const directory = join(import.meta.dirname, '..', room);
    for (const name of readdirSync(directory).sort()) {
      if (!/\.[jt]s$/.test(name)) continue;
      digest
        .update(name)
        .update('\0')
        .update(readFileSync(join(directory, name)));
    }
  }
  return digest.digest('hex').slice(0, buildDigits);
}
