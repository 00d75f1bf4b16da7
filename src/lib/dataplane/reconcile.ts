// Checks the open counts against the sockets themselves. The counts are exact by
// construction; should one ever be wrong, this is what finds out and puts it right.
import { FlowPhase } from './abi.js';
import { compareExchange64, loadAcquire64 } from './native.js';
import type { Plane } from './plane.js';
import { listSockets, type SocketLister, type SocketsRefused } from './sockets.js';
import type { Struct } from './struct.js';

export type Reconciled = { readonly kind: 'compared'; readonly corrected: number } | SocketsRefused;

/** Open flows of each backend index, counted from the sockets that hold them. */
function countOpen(plane: Plane, sockets: readonly Struct<'socket'>[]): Map<number, number> {
  const open = new Map<number, number>();
  for (const { flow } of sockets) {
    const current = plane.backends.get(flow.backend, 'generation') === flow.generation;
    if (flow.phase !== FlowPhase.settled && current) {
      open.set(flow.backend, (open.get(flow.backend) ?? 0) + 1);
    }
  }
  return open;
}

/** Adds `by` to a backend's open count, beside a kernel that is counting too. */
function adjust(plane: Plane, backend: number, by: number): void {
  const live = plane.backendLive;
  // `open` is the lower half of a word that it shares with `failures`.
  const offset = live.at(backend) + live.codec.place('open').offset;
  for (;;) {
    const word = loadAcquire64(live.buffer, offset);
    const open = BigInt.asUintN(32, word + BigInt(by));
    if (compareExchange64(live.buffer, offset, word, (word & ~0xffff_ffffn) | open)) return;
  }
}

/**
 * Compares and corrects. Sockets come and go while they are counted, so only a
 * difference that stood unchanged at the previous call is believed.
 */
export class Reconciler {
  private suspected = new Map<number, number>();

  constructor(
    private readonly plane: Plane,
    private readonly list: SocketLister = listSockets,
  ) {}

  /** Where the kernel does not list the sockets, the counts are left as they are. */
  run(backends: Iterable<number>): Reconciled {
    const listing = this.list(this.plane);
    if (listing.kind === 'refused') {
      this.suspected.clear();
      return listing;
    }
    const open = countOpen(this.plane, listing.sockets);
    const suspected = new Map<number, number>();
    let corrected = 0;
    for (const backend of backends) {
      const difference = (open.get(backend) ?? 0) - this.plane.backendLive.get(backend, 'open');
      if (difference === 0) continue;
      if (this.suspected.get(backend) === difference) {
        adjust(this.plane, backend, difference);
        corrected++;
      } else {
        suspected.set(backend, difference);
      }
    }
    this.suspected = suspected;
    return { kind: 'compared', corrected };
  }
}
