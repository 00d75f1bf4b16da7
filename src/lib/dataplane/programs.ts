// The programs that the build makes: what they are called, where their objects are, and
// which of them a dataplane needs. It touches neither.
import { fileURLToPath } from 'node:url';

import type { LatencySource } from './initialise.js';

const build = new URL('../../../bpf/build/', import.meta.url);
export const objectPath = fileURLToPath(new URL('nity.bpf.o', build));
export const socketsObjectPath = fileURLToPath(new URL('sockets.bpf.o', build));

/**
 * The programs, in the order of attaching: those that keep the books before
 * those that open flows. Detaching goes the other way.
 */
export const programNames = [
  'nity_sock_release',
  'nity_sockops',
  'nity_ingress',
  'nity_getpeername4',
  'nity_getpeername6',
  'nity_connect4',
  'nity_connect6',
] as const;
export type ProgramName = (typeof programNames)[number];

/** Each packet in to the cgroup runs nity_ingress, so it is attached only where it is wanted. */
export function programsFor(latency: LatencySource): readonly ProgramName[] {
  return latency === 'first-byte'
    ? programNames
    : programNames.filter((name) => name !== 'nity_ingress');
}
