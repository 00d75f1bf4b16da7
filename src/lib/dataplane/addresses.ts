// Which service addresses the kernel knows, and whose each is. A new one is dialled only once
// the table that serves it is in force; one that moves is always somebody's.
import type { Route, VirtualAddress } from '../routes/route-set.js';
import { addressKey, type Book, type RouteEntry } from './book.js';
import { ipv4ToNumber } from './ipv4.js';
import { codecs, type Plane } from './plane.js';

const tcp = 6;

function routeKey({ vip, port }: VirtualAddress): Uint8Array {
  return codecs.routeKey.encode({ vip: ipv4ToNumber(vip), port, protocol: tcp });
}

export class Addresses {
  /** Those that wait for the table that serves them. */
  private readonly unpublished = new Map<string, { address: VirtualAddress; route: RouteEntry }>();

  constructor(
    private readonly plane: Plane,
    private readonly book: Book,
  ) {}

  /** Takes back the addresses that the route is to have no more. */
  release(entry: RouteEntry, wanted: readonly VirtualAddress[]): void {
    const kept = new Set(wanted.map(addressKey));
    for (const [key, address] of [...entry.addresses]) {
      if (!kept.has(key)) this.takeBack(entry, address);
    }
  }

  /** Gives the route its new addresses, for which publish() is yet to come. */
  give(entry: RouteEntry, { addresses }: Route): void {
    for (const address of addresses) {
      const key = addressKey(address);
      if (entry.addresses.has(key)) continue;
      entry.addresses.set(key, address);
      this.unpublished.set(key, { address, route: entry });
    }
  }

  /** All addresses that are new, in one call: at start there may be thousands. */
  publish(): void {
    const count = this.unpublished.size;
    if (count === 0) return;
    const keys = new Uint8Array(count * codecs.routeKey.size);
    const values = new Uint32Array(count);
    [...this.unpublished.values()].forEach(({ address, route }, i) => {
      keys.set(routeKey(address), i * codecs.routeKey.size);
      values[i] = route.index;
    });
    this.plane.routes.updateBatch(keys, new Uint8Array(values.buffer), count);
    this.unpublished.clear();
  }

  /**
   * Where routes are handed over in parts, another may have the address by now: it stays that
   * one's, and until its table is in force the kernel keeps what it has.
   */
  private takeBack(entry: RouteEntry, address: VirtualAddress): void {
    const key = addressKey(address);
    entry.addresses.delete(key);
    const pending = this.unpublished.get(key);
    if (pending !== undefined && pending.route !== entry) return;
    this.unpublished.delete(key);
    const found = this.plane.routes.lookup(routeKey(address));
    if (found === undefined) return;
    const index = new DataView(found.buffer, found.byteOffset).getUint32(0, true);
    const isAnothers =
      index !== entry.index &&
      [...this.book.routes.values()].some(
        (other) => other.index === index && other.addresses.has(key),
      );
    if (!isAnothers) this.plane.routes.delete(routeKey(address));
  }
}
