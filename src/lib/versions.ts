// Which nity this is, down to the bytes it consists of, and what it runs on. It needs
// no privilege, and answers even where the addon does not load.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join, sep } from 'node:path';

import { messageOf } from './errors.js';
import { lawVersion } from './field/law.js';

export interface Versions {
  readonly nity: string;
  /** A digest of every file that runs: two installations that agree in it are the same. */
  readonly build: string;
  /** Of the law, as traces name it. */
  readonly law: number;
  /** Of the maps this build makes; null with libbpf where the addon does not load. */
  readonly schema: string | null;
  readonly libbpf: string | null;
  /** Why there is no libbpf. */
  readonly addonProblem: string | null;
  readonly kernel: string;
  readonly node: string;
  /** As in linux-x64. */
  readonly platform: string;
}

const codeRoot = join(import.meta.dirname, '..');
const kernelPlane = join(codeRoot, '../bpf/build');
const buildDigits = 12;

export async function versionsHere(nity: string): Promise<Versions> {
  const plane = await kernelPlaneBuild();
  return {
    nity,
    build: buildDigest(),
    law: lawVersion,
    schema: plane.schema,
    libbpf: plane.libbpf,
    addonProblem: plane.problem,
    kernel: release(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  };
}

/** The addon loads as its module does, and may not. */
async function kernelPlaneBuild(): Promise<{
  readonly schema: string | null;
  readonly libbpf: string | null;
  readonly problem: string | null;
}> {
  try {
    const { describeBuild } = await import('./dataplane/build.js');
    return { ...describeBuild(), problem: null };
  } catch (error) {
    const problem = messageOf(error);
    return { schema: null, libbpf: null, problem };
  }
}

function buildDigest(): string {
  const digest = createHash('sha256');
  const add = (root: string, isPart: (name: string) => boolean) => {
    for (const name of list(root).filter(isPart).sort()) {
      digest.update(`${name.split(sep).join('/')}\0`).update(readFileSync(join(root, name)));
    }
  };
  add(codeRoot, (name) => /\.[jt]s$/.test(name));
  add(kernelPlane, (name) => /^\w+(\.bpf\.o|\.node)$/.test(name));
  return digest.digest('hex').slice(0, buildDigits);
}

/** Of a build that is there in part, the part. */
function list(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' });
  } catch {
    return [];
  }
}
