// The two kinds of kernels: those that list sockets to a tracing program, and those that
// refuse it. On a machine of either kind a command can be run as if on one that refuses.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import { probeSockets, type SocketsRefused } from '../../src/lib/dataplane/sockets.js';
import { unavailable } from './rig.js';

/** Why this machine lists no sockets; null: it lists them. */
export const refusedHere: SocketsRefused | null = whyRefusedHere();

function whyRefusedHere(): SocketsRefused | null {
  if (unavailable !== undefined) return null;
  const listing = probeSockets();
  return listing.kind === 'refused' ? listing : null;
}

/** The check that warns of it, left out where it must: for a doctor that is to find nothing else. */
export const suppressedHere: readonly string[] =
  refusedHere === null ? [] : ['--suppress', 'NITY027'];

/** What a process with every capability says where the kernel refuses. */
export const refusedByPolicy = /^the policy of this kernel .* refuses tracing programs/;

/** The words before a command that make the kernel refuse tracing programs to it with EPERM. */
export function refusingTracing(directory: string): string[] {
  const binary = join(directory, 'refuse-tracing');
  const source = join(import.meta.dirname, 'refuse-tracing.c');
  execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-o', binary, source]);
  return [binary];
}

/** The words before a command that take the capabilities for tracing programs from it. */
export const withoutPerfmon = ['setpriv', '--bounding-set', '-perfmon,-sys_admin'];
