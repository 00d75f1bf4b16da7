// The sockets that hold a flow, as the kernel lists them to a tracing program. Some kernels
// refuse that program, whatever capabilities one has: then this says why, and what still
// works, and nothing else of the dataplane depends on it.
import { errnoOf, messageOf } from '../errors.js';
import { securityContext } from './capabilities.js';
import { lacking } from './lacking.js';
import { BpfObject, iterateSockets, type MapHandle } from './native.js';
import { codecs, type Plane } from './plane.js';
import { socketsObjectPath } from './programs.js';
import type { Struct } from './struct.js';

export interface SocketsRefused {
  readonly kind: 'refused';
  /** A phrase, to stand after a colon. */
  readonly cause: string;
  /** What to do, or what works all the same, as a sentence. */
  readonly advice: string;
}

export type SocketListing =
  { readonly kind: 'listed'; readonly sockets: readonly Struct<'socket'>[] } | SocketsRefused;

export type SocketLister = (plane: Plane) => SocketListing;

/** The sockets of a dataplane. */
export function listSockets(plane: Plane): SocketListing {
  return listing(() => iterateSockets(socketsObjectPath, plane.handle('sk_flow')));
}

/** Whether a dataplane's sockets could be listed, found out on a map that goes again. */
export function probeSockets(): SocketListing {
  return listing(() => {
    const object = new BpfObject(socketsObjectPath);
    let flows: MapHandle | undefined;
    try {
      object.load();
      flows = object.map('sk_flow');
      return iterateSockets(socketsObjectPath, flows);
    } finally {
      flows?.close();
      object.close();
    }
  });
}

function listing(iterate: () => Uint8Array): SocketListing {
  try {
    return { kind: 'listed', sockets: decode(iterate()) };
  } catch (error) {
    // What is not the kernel's answer is a fault of ours.
    if (errnoOf(error) === undefined) throw error;
    return explainRefusal(error, lacking());
  }
}

function decode(bytes: Uint8Array): Struct<'socket'>[] {
  const { size } = codecs.socket;
  return Array.from({ length: bytes.length / size }, (_, i) =>
    codecs.socket.decodeBytes(bytes.subarray(i * size, (i + 1) * size)),
  );
}

/** Of what the kernel answered to a process that lacks these capabilities. */
export function explainRefusal(error: unknown, lacks: readonly string[]): SocketsRefused {
  const code = errnoOf(error);
  const missing = lacks.filter((name) => name !== 'CAP_NET_ADMIN');
  if (missing.length > 0) {
    return {
      kind: 'refused',
      cause: `the kernel lists them to a tracing program, for which this process lacks ${missing.join(' and ')}`,
      advice: `Give the container ${securityContext}.`,
    };
  }
  if (code === 'EPERM' || code === 'EACCES') {
    return {
      kind: 'refused',
      cause:
        'the policy of this kernel (lockdown or a security module) refuses tracing programs, whatever capabilities a process has',
      advice:
        'No capability helps. Connects are served and counted all the same, and affinities and bound sources are shown.',
    };
  }
  return {
    kind: 'refused',
    cause: `the kernel did not take the program that lists them (${messageOf(error)})`,
    advice: 'See with `nity doctor` whether the kernel has BTF, which the program needs (NITY021).',
  };
}
