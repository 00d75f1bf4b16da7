// Which service addresses the kernel knows, and which route each leads to. A new one is
// published only once the table in force serves its route; one that moves leads to its old
// route until then; one that no route claims is deleted.
import type { Route, VirtualAddress } from '../routes/route-set.js';
import { addressKey, type RouteEntry } from './book.js';
import { ipv4ToNumber, ipv4ToText } from './ipv4.js';
import { codecs, type Plane } from './plane.js';
import type { RouteHandle } from './route-handle.js';

const protocols: Readonly<Record<number, 'TCP'>> = { 6: 'TCP' };
const tcp = 6;

function routeKey({ vip, port }: VirtualAddress): Uint8Array {
  return codecs.routeKey.encode({ vip: ipv4ToNumber(vip), port, protocol: tcp });
}

interface Claim {
  readonly address: VirtualAddress;
  /**
   * The last has it. Where routes are handed over in parts, those before it still say that it
   * is theirs, and have it again if the last gives it up.
   */
  readonly claimants: RouteEntry[];
  /** What the kernel's map says; undefined for an address that is not in it. */
  published: RouteHandle | undefined;
}

export class Addresses {
  private readonly claims = new Map<string, Claim>();
  /** Those for which the kernel's map may not say what is wanted. */
  private readonly unsettled = new Set<string>();
  /** How many published addresses lead to each route; none is not kept. */
  private readonly leading = new Map<RouteHandle, number>();

  constructor(private readonly plane: Plane) {}

  /** Takes over what the kernel's map holds, from before this agent. */
  adopt(byHandle: ReadonlyMap<RouteHandle, RouteEntry>): void {
    const { keys, values, count } = this.plane.routes.entries();
    const words = new DataView(values.buffer, values.byteOffset);
    const { size } = codecs.routeKey;
    for (let i = 0; i < count; i++) {
      const { vip, port, protocol } = codecs.routeKey.decodeBytes(keys.subarray(i * size));
      const address = { vip: ipv4ToText(vip), port, protocol: protocols[protocol] ?? 'TCP' };
      const handle = words.getUint32(i * 4, true) as RouteHandle;
      const key = addressKey(address);
      const entry = byHandle.get(handle);
      const claim: Claim = {
        address,
        claimants: entry === undefined ? [] : [entry],
        published: undefined,
      };
      this.claims.set(key, claim);
      this.say(claim, handle);
      if (entry === undefined) this.unsettled.add(key);
      else entry.addresses.set(key, address);
    }
  }

  /** The route gives up the addresses that it is not to have. They lead to it until they are settled or swept. */
  release(entry: RouteEntry, wanted: readonly VirtualAddress[]): void {
    const kept = new Set(wanted.map(addressKey));
    for (const key of [...entry.addresses.keys()]) {
      if (kept.has(key)) continue;
      entry.addresses.delete(key);
      const claim = this.claims.get(key);
      if (claim === undefined) continue;
      remove(claim.claimants, entry);
      this.unsettled.add(key);
    }
  }

  /** The route claims its addresses, before whoever claimed them earlier. */
  give(entry: RouteEntry, { addresses }: Route): void {
    for (const address of addresses) {
      const key = addressKey(address);
      let claim = this.claims.get(key);
      if (claim === undefined) {
        claim = { address, claimants: [], published: undefined };
        this.claims.set(key, claim);
      }
      entry.addresses.set(key, address);
      if (claim.claimants.at(-1) === entry) continue;
      remove(claim.claimants, entry);
      claim.claimants.push(entry);
      this.unsettled.add(key);
    }
  }

  /** Deletes the addresses that no route claims; for whoever knows all routes. */
  sweep(): void {
    for (const key of this.unsettled) {
      const claim = this.claims.get(key);
      if (claim === undefined || claim.claimants.length > 0) continue;
      if (claim.published !== undefined) this.plane.routes.delete(routeKey(claim.address));
      this.say(claim, undefined);
      this.claims.delete(key);
      this.unsettled.delete(key);
    }
  }

  /**
   * Has each address lead to the route that has it, if the table in force serves that one: all
   * of them in one call, in which an address is overwritten and never absent.
   */
  settle(isServed: (entry: RouteEntry) => boolean): void {
    const ready: { readonly claim: Claim; readonly handle: RouteHandle }[] = [];
    const waiting: string[] = [];
    for (const key of this.unsettled) {
      const claim = this.claims.get(key);
      const owner = claim?.claimants.at(-1);
      if (claim === undefined) continue;
      if (owner !== undefined && owner.handle === claim.published) continue;
      if (owner !== undefined && isServed(owner)) ready.push({ claim, handle: owner.handle });
      else waiting.push(key);
    }
    this.publish(ready);
    this.unsettled.clear();
    for (const key of waiting) this.unsettled.add(key);
  }

  /** Whether an address leads to this route, in the kernel, now. */
  leadTo({ handle }: RouteEntry): boolean {
    return this.leading.has(handle);
  }

  private publish(ready: readonly { readonly claim: Claim; readonly handle: RouteHandle }[]): void {
    if (ready.length === 0) return;
    const { size } = codecs.routeKey;
    const keys = new Uint8Array(ready.length * size);
    const values = new Uint32Array(ready.length);
    ready.forEach(({ claim, handle }, i) => {
      keys.set(routeKey(claim.address), i * size);
      values[i] = handle;
    });
    this.plane.routes.updateBatch(keys, new Uint8Array(values.buffer), ready.length);
    for (const { claim, handle } of ready) this.say(claim, handle);
  }

  private say(claim: Claim, handle: RouteHandle | undefined): void {
    const { published } = claim;
    if (published !== undefined) {
      const others = (this.leading.get(published) ?? 1) - 1;
      if (others === 0) this.leading.delete(published);
      else this.leading.set(published, others);
    }
    claim.published = handle;
    if (handle !== undefined) this.leading.set(handle, 1 + (this.leading.get(handle) ?? 0));
  }
}

function remove(claimants: RouteEntry[], entry: RouteEntry): void {
  const at = claimants.indexOf(entry);
  if (at >= 0) claimants.splice(at, 1);
}
