// Whether the field in the maps is one that decisions can go by: every slot of the
// table in force names a backend of its own route, ranges do not overlap, and every
// address leads to a route that is there. What a
// sound agent cannot write, a broken one, a stray tool or a bug may have.
import { BackendState, Limit, None } from './abi.js';
import { ipv4ToText } from './ipv4.js';
import { codecs, rangeOf, type Plane, type SlotRange } from './plane.js';
import { handleAt, routeIndexOf, type RouteHandle, type RouteIndex } from './route-handle.js';

/** Routes by name, and how much of each is wrong. */
export interface RouteFault {
  readonly route: string;
  readonly count: number;
}

export interface FieldFaults {
  /** Slots of the table in force that name a backend which has left. */
  readonly retired: readonly RouteFault[];
  /** Slots that name no backend at all, or one of another route. */
  readonly astray: readonly RouteFault[];
  /** Routes with backends whose range is no power of two, out of the table or another's too. */
  readonly ranges: readonly string[];
  /** Routes with backends for which the fallback set names none. */
  readonly fallbacks: readonly string[];
  /** Backends whose own count of slots is not what the table says. */
  readonly miscounted: number;
  /** Addresses that lead to no route, or to one whose index is another's by now. */
  readonly addresses: readonly string[];
}

type Owners = Uint32Array;

export function fieldFaults(plane: Plane, table: 0 | 1): FieldFaults {
  const look = new Look(plane, table);
  return look.faults();
}

class Look {
  private readonly state: (index: number) => number;
  private readonly routeOf: (index: number) => RouteHandle;
  private readonly counted: Uint32Array;
  /** Pages of the table that a route has. */
  private readonly taken: Uint8Array;
  private readonly served = new Map<RouteHandle, number>();

  constructor(
    private readonly plane: Plane,
    private readonly table: 0 | 1,
  ) {
    this.state = plane.backends.reader('state');
    const routeOf = plane.backends.reader('route');
    this.routeOf = (index) => routeOf(index) as RouteHandle;
    this.taken = new Uint8Array(plane.slotTables[table].length / Limit.slotsPerPage);
    this.counted = new Uint32Array(plane.backends.length);
    for (let index = 1; index < plane.backends.length; index++) {
      const state = this.state(index);
      if (state === BackendState.free || state === BackendState.retired) continue;
      const route = this.routeOf(index);
      this.served.set(route, (this.served.get(route) ?? 0) + 1);
    }
  }

  faults(): FieldFaults {
    const retired: RouteFault[] = [];
    const astray: RouteFault[] = [];
    const ranges: string[] = [];
    const fallbacks: string[] = [];
    const { routeNames, rtControl, slotTables, fallback } = this.plane;
    const names = new Uint8Array(routeNames.buffer);
    for (let index = 1; index < rtControl.length; index++) {
      if (names[index * routeNames.codec.size] === 0) continue;
      const route = routeNames.get(index, 'name');
      const { slotRange, fallbackRange } = rtControl.read(index);
      const range = rangeOf(slotRange[this.table] ?? 0n);
      const owners = slotTables[this.table];
      const handle = handleAt(this.plane, index as RouteIndex);
      // A route without backends has no slots to be wrong.
      if (!this.served.has(handle)) continue;
      if (!this.isSound(range, owners)) {
        ranges.push(route);
        continue;
      }
      const found = this.owners(handle, range, owners);
      if (found.retired > 0) retired.push({ route, count: found.retired });
      if (found.astray > 0) astray.push({ route, count: found.astray });
      if (!this.names(handle, rangeOf(fallbackRange), fallback)) fallbacks.push(route);
    }
    const miscounted = this.miscounted();
    return { retired, astray, ranges, fallbacks, miscounted, addresses: this.strayAddresses() };
  }

  private strayAddresses(): string[] {
    const { keys, values, count } = this.plane.routes.entries();
    const words = new DataView(values.buffer, values.byteOffset);
    const names = new Uint8Array(this.plane.routeNames.buffer);
    const stray: string[] = [];
    for (let i = 0; i < count; i++) {
      const handle = words.getUint32(i * 4, true) as RouteHandle;
      const index = routeIndexOf(handle);
      const isThere =
        index < this.plane.rtControl.length &&
        names[index * this.plane.routeNames.codec.size] !== 0 &&
        handleAt(this.plane, index) === handle;
      if (isThere) continue;
      const key = codecs.routeKey.decodeBytes(keys.subarray(i * codecs.routeKey.size));
      stray.push(`${ipv4ToText(key.vip)}:${key.port}`);
    }
    return stray;
  }

  /** Size 0 is a route that no table holds yet, which is no fault while it is new. */
  private isSound({ base, size }: SlotRange, owners: Owners): boolean {
    if (size === 0) return true;
    const page = Limit.slotsPerPage;
    if ((size & (size - 1)) !== 0 || base % page !== 0 || base + size > owners.length) return false;
    let apart = true;
    for (let at = base / page; at < (base + size) / page; at++) {
      if (this.taken[at] === 1) apart = false;
      this.taken[at] = 1;
    }
    return apart;
  }

  private owners(route: RouteHandle, { base, size }: SlotRange, owners: Owners) {
    let retired = 0;
    let astray = 0;
    for (let slot = base; slot < base + size; slot++) {
      const owner = owners[slot] ?? None.none;
      if (owner === None.none || owner >= this.counted.length || this.routeOf(owner) !== route) {
        astray++;
        continue;
      }
      this.counted[owner] = (this.counted[owner] ?? 0) + 1;
      const state = this.state(owner);
      if (state === BackendState.retired) retired++;
      else if (state === BackendState.free) astray++;
    }
    return { retired, astray };
  }

  private names(route: RouteHandle, { base, size }: SlotRange, fallback: Owners): boolean {
    for (let slot = base; slot < Math.min(base + size, fallback.length); slot++) {
      const owner = fallback[slot] ?? None.none;
      if (owner !== None.none && owner < this.counted.length && this.routeOf(owner) === route) {
        return true;
      }
    }
    return false;
  }

  private miscounted(): number {
    const told = this.plane.backends.elementReader('slots');
    let wrong = 0;
    for (let index = 1; index < this.counted.length; index++) {
      const state = this.state(index);
      // What left weighs nothing, whatever its count was.
      if (state === BackendState.free || state === BackendState.retired) continue;
      if (told(index, this.table) !== this.counted[index]) wrong++;
    }
    return wrong;
  }
}
