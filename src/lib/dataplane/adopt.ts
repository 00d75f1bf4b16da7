// Makes the book anew from what a predecessor left in the maps, however it ended. What is
// sound stays as it is, so that a restart moves no traffic; what contradicts itself is not
// built upon: its route begins afresh, and the kernel refuses the rest meanwhile.
import { endpointId, type RouteName } from '../routes/route-set.js';
import { BackendState, None } from './abi.js';
import type { Addresses } from './addresses.js';
import {
  emptyBackend,
  freshEntry,
  graceNs,
  versionWithout,
  type Book,
  type RouteEntry,
} from './book.js';
import { ipv4ToText } from './ipv4.js';
import { noRange, otherTable, rangeOf, type Plane, type SlotRange } from './plane.js';
import {
  handleAt,
  routeIndexOf,
  routeOfBackend,
  type RouteHandle,
  type RouteIndex,
} from './route-handle.js';

/** Returns what was found damaged, a sentence each. */
export function adopt(plane: Plane, book: Book, addresses: Addresses, active: 0 | 1): string[] {
  return new Adoption(plane, book, active).run(addresses);
}

class Adoption {
  private readonly byHandle = new Map<RouteHandle, RouteEntry>();
  /** The route that each backend belongs to, retired or not. */
  private readonly routeOf = new Map<number, RouteEntry>();
  private readonly retired: { readonly index: number; readonly route: RouteEntry }[] = [];
  private readonly damage: string[] = [];

  constructor(
    private readonly plane: Plane,
    private readonly book: Book,
    private readonly active: 0 | 1,
  ) {}

  run(addresses: Addresses): string[] {
    this.adoptRoutes();
    this.adoptBackends();
    for (const entry of this.book.entries()) {
      this.adoptSlots(entry);
      this.adoptFallback(entry);
    }
    const { retired } = this;
    this.book.retired = retired.map(({ index, route }) => ({
      index,
      route,
      version: versionWithout(route, index),
    }));
    addresses.adopt(this.byHandle);
    return this.damage;
  }

  private adoptRoutes(): void {
    const { plane, book } = this;
    const reusableAtNs = plane.nowNs() + graceNs;
    const names = new Uint8Array(plane.routeNames.buffer);
    for (let at = 1; at < plane.rtControl.length; at++) {
      const index = at as RouteIndex;
      const handle = handleAt(plane, index);
      if (names[index * plane.routeNames.codec.size] === 0) {
        // It may have been given back a moment ago.
        if (handle !== None.none) book.routeIndexes.rest(index, reusableAtNs);
        continue;
      }
      book.routeIndexes.adopt(index);
      const name = plane.routeNames.get(index, 'name') as RouteName;
      const isItself = routeIndexOf(handle) === index;
      // With another's handle nothing leads to it.
      const entry = freshEntry(name, index, isItself ? handle : (None.none as RouteHandle));
      entry.tables[this.active].version = entry.tables[otherTable(this.active)].version = -1;
      if (isItself) this.byHandle.set(handle, entry);
      if (isItself && !book.routes.has(name)) book.routes.set(name, entry);
      else this.abandon(entry, isItself);
    }
  }

  private abandon(entry: RouteEntry, isItself: boolean): void {
    entry.removed = true;
    this.book.abandoned.push(entry);
    this.damage.push(
      isItself
        ? `The route ${entry.name} was in the maps twice.`
        : `The route ${entry.name} had the handle of another.`,
    );
  }

  private adoptBackends(): void {
    const { plane, book } = this;
    const reusableAtNs = plane.nowNs() + graceNs;
    const stateOf = plane.backends.reader('state');
    const generationOf = plane.backends.reader('generation');
    let strays = 0;
    for (let index = 1; index < plane.backends.length; index++) {
      const state = stateOf(index);
      if (state === BackendState.free) {
        if (generationOf(index) !== 0) book.backendIndexes.rest(index, reusableAtNs);
        continue;
      }
      const entry = this.byHandle.get(routeOfBackend(plane, index));
      if (entry === undefined) {
        plane.backends.write(index, emptyBackend);
        book.backendIndexes.rest(index, reusableAtNs);
        strays++;
        continue;
      }
      book.backendIndexes.adopt(index);
      this.adoptBackend(entry, index, state);
    }
    if (strays > 0) this.damage.push(`${strays} backends were of no route.`);
  }

  private adoptBackend(entry: RouteEntry, index: number, state: number): void {
    const { address, port } = this.plane.backends.read(index);
    const endpoint = { address: ipv4ToText(address), port };
    const id = endpointId(endpoint);
    this.routeOf.set(index, entry);
    if (state !== BackendState.retired && !entry.backends.has(id)) {
      entry.backends.set(id, { index, endpoint });
      return;
    }
    if (state !== BackendState.retired) {
      this.damage.push(`The backend ${id} of ${entry.name} was in the maps twice.`);
      this.plane.backends.write(index, {
        state: BackendState.retired,
        retiredNs: this.plane.nowNs(),
      });
    }
    this.retired.push({ index, route: entry });
  }

  /**
   * The owners in the table in force become the current ones. The other table is trusted with
   * nothing. Size 0 is a route that no table holds yet.
   */
  private adoptSlots(entry: RouteEntry): void {
    const { plane, book, active } = this;
    const range = rangeOf(plane.rtControl.get(entry.index, 'slotRange')[active] ?? 0n);
    if (range.size === 0) return;
    const owners = book.readOwners(active, range);
    if (!this.areOwn(entry, owners) || !book.slots[active].adopt(range)) {
      this.damage.push(`The slots of ${entry.name} were not its own.`);
      return;
    }
    Object.assign(entry.tables[active], { range, version: 0 });
    entry.owners = owners;
  }

  private adoptFallback(entry: RouteEntry): void {
    const { plane, book } = this;
    const range = rangeOf(plane.rtControl.get(entry.index, 'fallbackRange'));
    if (range.size === 0) {
      entry.fallbackIsCurrent = entry.backends.size === 0;
      return;
    }
    const owners = plane.fallback.slice(range.base, range.base + range.size);
    if (!this.areOwn(entry, owners) || !book.fallback.adopt(range)) {
      this.damage.push(`The fallback set of ${entry.name} was not its own.`);
      entry.fallback = noRange;
      return;
    }
    entry.fallback = range;
    entry.fallbackIsCurrent = this.areAll(entry, range);
  }

  /** Whether every slot names one of the route's backends, be it a retired one. */
  private areOwn(entry: RouteEntry, owners: Uint32Array): boolean {
    return owners.length > 0 && owners.every((owner) => this.routeOf.get(owner) === entry);
  }

  /** Whether the fallback set names each of the route's backends, and none that left. */
  private areAll(entry: RouteEntry, { base, size }: SlotRange): boolean {
    const named = new Set(this.plane.fallback.subarray(base, base + size));
    const { backends } = entry;
    if (named.size !== backends.size) return false;
    return [...backends.values()].every(({ index }) => named.has(index));
  }
}
