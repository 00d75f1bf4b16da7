// The node's book: which index each route and backend has, which slots each
// route holds in either table, and who owns them. It mirrors what the maps say
// and is rebuilt from them when an agent starts.
import type {
  GearChoice,
  ModeChoice,
  Route,
  RouteName,
  VirtualAddress,
} from '../routes/route-set.js';
import { endpointId, type Endpoint } from '../routes/route-set.js';
import { AdmissionMode, BackendState, None } from './abi.js';
import { IndexAllocator, RangeAllocator } from './allocators.js';
import { ipv4ToText } from './ipv4.js';
import { codecs, noRange, otherTable, rangeOf, type Plane, type SlotRange } from './plane.js';

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
  readonly index: number;
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
  /** The backend index that owns each slot, as last decided. */
  owners: Uint32Array;
  version: number;
  readonly tables: readonly [TableCopy, TableCopy];
  /** Set when it is served no more and waits for both tables to forget it. */
  removed: boolean;
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

const protocols: Readonly<Record<number, 'TCP'>> = { 6: 'TCP' };

export class Book {
  readonly routes = new Map<RouteName, RouteEntry>();
  readonly retired: RetiredBackend[] = [];
  readonly routeIndexes: IndexAllocator;
  readonly backendIndexes: IndexAllocator;
  readonly slots: readonly [RangeAllocator, RangeAllocator];
  readonly fallback: RangeAllocator;

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

  /**
   * Takes over what a predecessor left: the owners in the active table become
   * the current ones, so a restart moves no traffic. The inactive table is
   * trusted with nothing.
   */
  adopt(active: 0 | 1): void {
    const byIndex = new Map<number, RouteEntry>();
    for (let index = 1; index < this.plane.rtControl.length; index++) {
      const name = this.plane.routeNames.get(index, 'name');
      if (name === '') continue;
      const entry = this.adoptRoute(name as RouteName, index, active);
      byIndex.set(index, entry);
      this.routes.set(entry.name, entry);
    }
    this.adoptAddresses(byIndex);
    this.adoptBackends(byIndex);
  }

  private adoptRoute(name: RouteName, index: number, active: 0 | 1): RouteEntry {
    this.routeIndexes.adopt(index);
    const { slotRange, fallbackRange } = this.plane.rtControl.read(index);
    const range = rangeOf(slotRange[active] ?? 0n);
    const fallback = rangeOf(fallbackRange);
    const known: TableCopy = { range: noRange, version: -1 };
    if (this.slots[active].adopt(range)) Object.assign(known, { range, version: 0 });
    const unknown: TableCopy = { range: noRange, version: -1 };
    return {
      name,
      index,
      addresses: new Map(),
      backends: new Map(),
      gear: 'auto',
      mode: 'auto',
      fewestSlots: undefined,
      asked: undefined,
      fallback: this.fallback.adopt(fallback) ? fallback : noRange,
      owners: this.readOwners(active, known.range),
      version: 0,
      tables: active === 0 ? [known, unknown] : [unknown, known],
      removed: false,
    };
  }

  private adoptAddresses(byIndex: ReadonlyMap<number, RouteEntry>): void {
    const { keys, values, count } = this.plane.routes.entries();
    const words = new DataView(values.buffer, values.byteOffset);
    for (let i = 0; i < count; i++) {
      const size = codecs.routeKey.size;
      const { vip, port, protocol } = codecs.routeKey.decodeBytes(keys.subarray(i * size));
      const route = byIndex.get(words.getUint32(i * 4, true));
      const address = {
        vip: ipv4ToText(vip),
        port,
        protocol: protocols[protocol] ?? 'TCP',
      };
      route?.addresses.set(addressKey(address), address);
    }
  }

  private adoptBackends(byIndex: ReadonlyMap<number, RouteEntry>): void {
    for (let index = 1; index < this.plane.backends.length; index++) {
      const state = this.plane.backends.get(index, 'state');
      if (state === BackendState.free) continue;
      const { route, address, port } = this.plane.backends.read(index);
      const entry = byIndex.get(route);
      if (entry === undefined) continue;
      this.backendIndexes.adopt(index);
      const endpoint = { address: ipv4ToText(address), port };
      if (state === BackendState.retired) {
        this.retired.push({ index, route: entry, version: entry.version + 1 });
      } else {
        entry.backends.set(endpointId(endpoint), { index, endpoint });
      }
    }
  }

  private readOwners(table: 0 | 1, { base, size }: SlotRange): Uint32Array {
    return this.plane.slotTables[table].slice(base, base + size);
  }

  /**
   * Somebody flipped: the table in force is now `active`, which holds older
   * owners. They become the current ones, and the other table is not trusted.
   */
  follow(active: 0 | 1): void {
    for (const entry of this.routes.values()) {
      const copy = entry.tables[active];
      entry.owners = this.readOwners(active, copy.range);
      entry.version++;
      copy.version = entry.version;
      entry.tables[otherTable(active)].version = -1;
    }
  }

  /** A route that is new to this node, with indices but nothing in the maps yet. */
  open(route: Route, nowNs: bigint): RouteEntry {
    const entry: RouteEntry = {
      name: route.name,
      index: this.routeIndexes.allocate(nowNs),
      addresses: new Map(),
      backends: new Map(),
      gear: route.gear,
      mode: route.mode ?? 'auto',
      fewestSlots: route.slots,
      asked: undefined,
      fallback: noRange,
      owners: new Uint32Array(0),
      version: 0,
      tables: [
        { range: noRange, version: 0 },
        { range: noRange, version: 0 },
      ],
      removed: false,
    };
    this.routes.set(route.name, entry);
    return entry;
  }
}

export const freshControl = {
  admissionMode: AdmissionMode.normal,
  observedPercent: 0,
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
} as const;
