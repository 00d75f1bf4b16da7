// What a fresh load and an upgrade in place share: what they are asked and what they tell,
// how the object is opened and a program attached, and why the kernel would do neither.
import type { Knobs } from '../config/knobs.js';
import { errnoOf, KernelError, messageOf, NityError } from '../errors.js';
import type { LatencySource } from './initialise.js';
import { lacking } from './lacking.js';
import { BpfObject } from './native.js';
import { linkPin } from './pins.js';
import { privilegeError } from './privilege.js';
import { objectPath, programsFor, type ProgramName } from './programs.js';

/** Entries of the maps whose size may be chosen; missing ones take the contract's default. */
export interface MapSizes {
  readonly addresses?: number;
  readonly routes?: number;
  readonly slots?: number;
  readonly backends?: number;
}

export interface LoadOptions {
  readonly pinPath: string;
  /** A directory of the cgroup v2 hierarchy: the programs see the sockets made below it. */
  readonly cgroup: string;
  readonly knobs: Knobs;
  readonly sizes?: MapSizes;
  readonly object?: string;
  /** Without it, what is loaded stays as it is, and first-byte for a fresh load. */
  readonly latency?: LatencySource;
  /** Let the kernel verify everything, and change nothing. */
  readonly dryRun?: boolean;
}

export interface ProgramReport {
  readonly name: string;
  readonly id: number;
  readonly tag: string;
  /** Instructions the verifier walked through: the bound on the cost of a decision. */
  readonly verifiedInstructions: number;
}

export interface LoadReport {
  readonly action: 'loaded' | 'upgraded' | 'unchanged';
  readonly schema: string;
  readonly latency: LatencySource;
  /** The libbpf that did it. */
  readonly libbpf: string;
  readonly programs: readonly ProgramReport[];
}

export function openObject(options: LoadOptions): BpfObject {
  const path = options.object ?? objectPath;
  try {
    return new BpfObject(path);
  } catch (error) {
    throw explainLoad(error, path);
  }
}

export function explainLoad(error: unknown, path: string): unknown {
  if (error instanceof NityError) return error;
  const code = errnoOf(error);
  const denied = code === 'EPERM' || code === 'EACCES';
  // The verifier answers EACCES too, and says so in its log.
  const log = error instanceof Error && 'log' in error ? String(error.log) : '';
  const judged = log.includes('processed ');
  // Without CAP_PERFMON it answers EINVAL to programs of more than one function.
  if ((denied && !judged) || lacking().length > 0) {
    return privilegeError('loading BPF programs', error);
  }
  return new KernelError(
    `The kernel did not load ${path}: ${messageOf(error)}.`,
    'Run it again with DEBUG=1 for the log of libbpf and the verifier.',
    error,
  );
}

export function reportPrograms(object: BpfObject, latency: LatencySource): ProgramReport[] {
  return programsFor(latency).map((name) => {
    const { id, tag, verifiedInstructions } = object.program(name).info();
    return { name, id, tag, verifiedInstructions };
  });
}

export function attach(
  object: BpfObject,
  name: ProgramName,
  cgroup: string,
  directory: string,
): void {
  const link = object.program(name).attachCgroup(cgroup);
  link.pin(linkPin(directory, name));
  link.close();
}
