// The node's book: which index each route and backend has, which slots each
// route holds in either table, and who owns them. It mirrors what the maps say;
// adopt.ts makes it anew from them when an agent starts.
import type {
  GearChoice,
  ModeChoice,
  Route,
  RouteName,
  VirtualAddress,
} from '../routes/route-set.js';
import type { Endpoint } from '../routes/route-set.js';
import { InputError } from '../errors.js';
import { AdmissionMode, BackendState, None } from './abi.js';
import { IndexAllocator, RangeAllocator } from './allocators.js';
import { noRange, otherTable, rangeOf, type Plane, type SlotRange } from './plane.js';
import { handleAt, nextHandle, type RouteHandle, type RouteIndex } from './route-handle.js';
import type { Struct } from './struct.js';

/** Past this, no decision that started before a table was rewritten can still be under way. */
export const graceNs = 2_000_000_000n;

export interface BackendEntry {
  readonly index: number;
  readonly endpoint: Endpoint;
}

/** What one table holds of a route: where, and which version of its owners. */
export interface TableCopy {
  range: SlotRange;
  /** -1: nobody knows what is there. */
  version: number;
}

export interface RouteEntry {
  readonly name: RouteName;
  readonly index: RouteIndex;
  readonly handle: RouteHandle;
  readonly addresses: Map<string, VirtualAddress>;
  /** By endpoint, "ip:port". */
  readonly backends: Map<string, BackendEntry>;
  /** `auto` leaves it to the agent. */
  gear: GearChoice;
  mode: ModeChoice;
  /** Fewest slots, if its own are fixed. */
  fewestSlots: number | undefined;
  /** What it was last brought into line with: the same again changes nothing. */
  asked: Route | undefined;
  fallback: SlotRange;
  /** Whether the fallback set names the backends, and no other: a predecessor may have ended in between. */
  fallbackIsCurrent: boolean;
  /** The backend index that owns each slot, as last decided. */
  owners: Uint32Array;
  version: number;
  readonly tables: readonly [TableCopy, TableCopy];
  /** Set when it is served no more. */
  removed: boolean;
  /**
   * Set when its backends were retired, which waits until no address leads to it any more:
   * then it is gone as soon as both tables forget it.
   */
  emptied: boolean;
}

/** A backend that left its route; its index is free once no table can name it. */
export interface RetiredBackend {
  readonly index: number;
  readonly route: RouteEntry;
  readonly version: number;
}

export function addressKey({ vip, port, protocol }: VirtualAddress): string {
  return `${vip}:${port}/${protocol}`;
}

/** A table has a power of two of slots, 8 for each backend and `minimum` at least. */
export function tableSize(backends: number, minimum: number): number {
  let size = minimum;
  while (size < backends * 8) size *= 2;
  return size;
}

/** Repeating a ring whole keeps every share and every order of turns. */
export function tileOwners(owners: Uint32Array, size: number): Uint32Array {
  if (owners.length === 0) return new Uint32Array(size).fill(None.none);
  return Uint32Array.from({ length: size }, (_, slot) => owners[slot % owners.length] ?? None.none);
}

export class Book {
  readonly routes = new Map<RouteName, RouteEntry>();
  /** Found by adopt() with damage to what they are, not only to their slots: on their way out. */
  readonly abandoned: RouteEntry[] = [];
  retired: RetiredBackend[] = [];
  /** Indices that were given to backends since they were last taken from here. */
  private opened: number[] = [];
  readonly routeIndexes: IndexAllocator;
  readonly backendIndexes: IndexAllocator;
  readonly slots: readonly [RangeAllocator, RangeAllocator];
  readonly fallback: RangeAllocator;
  private restingFallback: { readonly range: SlotRange; readonly reusableAtNs: bigint }[] = [];

  constructor(private readonly plane: Plane) {
    this.routeIndexes = new IndexAllocator('route', plane.rtControl.length);
    this.backendIndexes = new IndexAllocator('backend', plane.backends.length);
    const slots = plane.slotTables[0].length;
    this.slots = [
      new RangeAllocator('range of slots', slots),
      new RangeAllocator('range of slots', slots),
    ];
    this.fallback = new RangeAllocator('range of fallback slots', plane.fallback.length);
  }

  /** All that the maps hold, those on their way out too. */
  entries(): RouteEntry[] {
    return [...this.routes.values(), ...this.abandoned];
  }

  readOwners(table: 0 | 1, { base, size }: SlotRange): Uint32Array {
    return this.plane.slotTables[table].slice(base, base + size);
  }

  /**
   * Somebody flipped: the table in force is now `active`, which holds older
   * owners. They become the current ones, and the other table is not trusted.
   */
  follow(active: 0 | 1): void {
    for (const entry of this.entries()) {
      const copy = entry.tables[active];
      entry.version++;
      entry.tables[otherTable(active)].version = -1;
      // What is gone has no slots to come back to; both tables are to forget it.
      if (entry.emptied || !this.isKnown(entry, active)) copy.version = -1;
      else {
        entry.owners = this.readOwners(active, copy.range);
        copy.version = entry.version;
      }
    }
    // The older owners may name backends that left meanwhile.
    this.retired = this.retired.map(({ index, route }) => ({
      index,
      route,
      version: versionWithout(route, index),
    }));
  }

  /** Whether it is known where in a table a route's slots are: of a predecessor's, it is asked now. */
  private isKnown({ index, tables }: RouteEntry, table: 0 | 1): boolean {
    const copy = tables[table];
    if (copy.version >= 0 || copy.range.size > 0) return true;
    const range = rangeOf(this.plane.rtControl.get(index, 'slotRange')[table] ?? 0n);
    if (!this.slots[table].adopt(range)) return false;
    copy.range = range;
    return true;
  }

  /** A route that is new to this node, with a handle but nothing in the maps yet. */
  open(route: Route, nowNs: bigint): RouteEntry {
    const index = this.routeIndexes.allocate(nowNs) as RouteIndex;
    const entry: RouteEntry = {
      ...freshEntry(route.name, index, nextHandle(index, handleAt(this.plane, index))),
      gear: route.gear,
      mode: route.mode ?? 'auto',
      fewestSlots: route.slots,
      fallbackIsCurrent: true,
    };
    this.routes.set(route.name, entry);
    return entry;
  }

  /** A route that neither table names any more. */
  forget(entry: RouteEntry): void {
    if (this.routes.get(entry.name) === entry) this.routes.delete(entry.name);
    const at = this.abandoned.indexOf(entry);
    if (at >= 0) this.abandoned.splice(at, 1);
  }

  /** An index for a new backend. */
  openBackend(nowNs: bigint): number {
    const index = this.backendIndexes.allocate(nowNs);
    this.opened.push(index);
    return index;
  }

  /** The backends' indices that were opened since the last call. */
  takeOpened(): readonly number[] {
    const { opened } = this;
    this.opened = [];
    return opened;
  }

  /** A range of `size`, or of the largest smaller size that there is: it need not be the ring's. */
  allocateFallback(size: number, least: number, nowNs: bigint): SlotRange {
    this.wakeFallback(nowNs);
    for (let of = size; ; of /= 2) {
      try {
        return this.fallback.allocate(of);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        if (of / 2 >= least) continue;
        // Rather one that has not rested than none at all.
        if (this.restingFallback.length === 0) throw error;
        this.wakeFallback(nowNs + graceNs);
        of = size * 2;
      }
    }
  }

  /** Kept from others until no decision can be under way that read where it was. */
  releaseFallback(range: SlotRange, nowNs: bigint): void {
    if (range.size > 0) this.restingFallback.push({ range, reusableAtNs: nowNs + graceNs });
  }

  private wakeFallback(nowNs: bigint): void {
    this.restingFallback = this.restingFallback.filter(({ range, reusableAtNs }) => {
      if (reusableAtNs > nowNs) return true;
      this.fallback.release(range);
      return false;
    });
  }
}

export function freshEntry(name: RouteName, index: RouteIndex, handle: RouteHandle): RouteEntry {
  return {
    name,
    index,
    handle,
    addresses: new Map(),
    backends: new Map(),
    gear: 'auto',
    mode: 'auto',
    fewestSlots: undefined,
    asked: undefined,
    fallback: noRange,
    fallbackIsCurrent: false,
    owners: new Uint32Array(0),
    version: 0,
    tables: [
      { range: noRange, version: 0 },
      { range: noRange, version: 0 },
    ],
    removed: false,
    emptied: false,
  };
}

/** The first version of a route's owners in which a backend that leaves has no slot. */
export function versionWithout({ owners, version }: RouteEntry, backend: number): number {
  return owners.includes(backend) ? version + 1 : version;
}

/** What an index's last holder leaves behind, but for the handle that its next one counts on from. */
export const emptyControl = {
  slotRange: [0n, 0n],
  fallbackRange: 0n,
  admissionMode: AdmissionMode.normal,
  gear: 0,
  affinitySeconds: 0,
  observedPercent: 0,
  clients: [0, 0, 0, 0],
  overrideWord: 0n,
  overrideTokenNs: 0n,
  overrideBurstNs: 0n,
  latencyMask: 0,
  latencySkip: 0,
  tokenNs: 0n,
  burstNs: 0n,
  bucketNs: 0n,
  turns: 0n,
  picks: 0n,
  refused: 0n,
} satisfies Partial<Struct<'rtControl'>>;

/** The same of a backend: without its state nobody trusts the rest, so that goes first. */
export const emptyBackend = {
  state: BackendState.free,
  address: 0,
  port: 0,
  route: 0,
  slots: [0, 0],
  retiredNs: 0n,
} satisfies Partial<Struct<'backend'>>;
