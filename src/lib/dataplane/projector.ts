// Writes the field into the kernel: the order of its writes is the contract
// (RFC 0003), so that at every instant, wherever the agent dies, held_epoch
// names a complete table.
import { Gear, BackendState, Limit, None, AdmissionMode } from './abi.js';
import { Addresses } from './addresses.js';
import { adopt } from './adopt.js';
import { budgetWords, type Budget } from './control.js';
import {
  Book,
  emptyBackend,
  emptyControl,
  graceNs,
  tableSize,
  tileOwners,
  versionWithout,
  type RouteEntry,
} from './book.js';
import type { GearName } from './gear.js';
import { fillFallback } from './fallback-set.js';
import { ipv4ToNumber } from './ipv4.js';
import { noRange, otherTable, rangeWord, tableOf, type Plane, type SlotRange } from './plane.js';
import { requireRoom } from './room.js';
import { InputError } from '../errors.js';
import { endpointId, type Route, type RouteSet } from '../routes/route-set.js';

/** A probe's time is not written again for less: ticks are no exact clock. */
const dripGrainNs = 50_000_000n;

export type ProjectionOutcome =
  | { readonly kind: 'projected'; readonly epoch: bigint; readonly slotsWritten: number }
  /** Nothing differs from what the active table says. */
  | { readonly kind: 'unchanged'; readonly epoch: bigint }
  /** Another flipped since the last look; the field was taken over from there. */
  | { readonly kind: 'followed'; readonly epoch: bigint };

export interface ProjectorOptions {
  /** Fewest slots of a route; a power of two. */
  readonly slotsPerRoute: number;
  readonly defaultGear: GearName;
}

export class Projector {
  readonly book: Book;
  /** What of the maps was damaged when this agent took them over, a sentence each. */
  readonly damage: readonly string[];
  private epoch: bigint;
  private mustWrite = true;
  private readonly addresses: Addresses;

  /** Slots counted by owner; only the entries of the route at hand mean anything. */
  private readonly shares: Uint32Array;
  private readonly writeSlots;
  private readonly read;

  constructor(
    private readonly plane: Plane,
    private readonly options: ProjectorOptions,
  ) {
    this.shares = new Uint32Array(plane.backends.length);
    this.writeSlots = plane.backends.writer('slots');
    this.read = {
      state: plane.backends.reader('state'),
      mode: plane.rtControl.reader('admissionMode'),
      gear: plane.rtControl.reader('gear'),
      observedPercent: plane.rtControl.reader('observedPercent'),
      latencyMask: plane.rtControl.reader('latencyMask'),
      latencySkip: plane.rtControl.reader('latencySkip'),
    };
    this.epoch = plane.word('epoch');
    this.book = new Book(plane);
    this.addresses = new Addresses(plane);
    this.damage = adopt(plane, this.book, this.addresses, tableOf(this.epoch));
  }

  /** Confirms the epoch in force, then says that the agent lives: in this order. */
  heartbeat(): void {
    this.plane.setWord('heldEpoch', this.plane.word('epoch'));
    this.plane.setWord('lastAgentSeenNs', this.plane.nowNs());
  }

  /** Whether someone else flipped since; if so, what is in force becomes the current field. */
  follow(): boolean {
    const epoch = this.plane.word('epoch');
    if (epoch === this.epoch) return false;
    this.epoch = epoch;
    this.book.follow(tableOf(epoch));
    this.mustWrite = true;
    return true;
  }

  /**
   * Makes the book agree with what is to be served: indices, endpoints, fallback
   * sets and controls. Slots follow with setOwners() and project(). A route that is
   * the same object as the last time is passed over. Of a set that is not whole, what is
   * missing stays. Returns what was changed.
   */
  reconcile(routes: RouteSet, isWhole = true): readonly RouteEntry[] {
    const wanted = new Set(routes.map(({ name }) => name));
    const missing = [...this.book.routes.values()].filter(
      ({ name, removed }) => !removed && !wanted.has(name),
    );
    const { slotsPerRoute } = this.options;
    requireRoom(this.plane, this.book, routes, isWhole ? [] : missing, slotsPerRoute);
    const changed: RouteEntry[] = [];
    const fresh = routes.filter((route) => this.book.routes.get(route.name)?.asked !== route);
    for (const route of fresh) {
      const known = this.book.routes.get(route.name);
      const entry = known ?? this.openRoute(route);
      entry.removed = false;
      entry.emptied = false;
      entry.fewestSlots = route.slots;
      this.reconcileBackends(entry, route);
      this.addresses.release(entry, route.addresses);
      this.addresses.give(entry, route);
      if (route.gear !== 'auto' || known === undefined || entry.gear !== 'auto') {
        const gear = route.gear === 'auto' ? this.options.defaultGear : route.gear;
        this.plane.rtControl.write(entry.index, { gear: Gear[gear] });
      }
      entry.gear = route.gear;
      entry.mode = route.mode ?? 'auto';
      this.plane.rtControl.write(entry.index, {
        affinitySeconds: route.affinity.kind === 'clientIP' ? route.affinity.timeoutSeconds : 0,
      });
      entry.asked = route;
      changed.push(entry);
    }
    if (isWhole) {
      this.withdraw(missing);
      changed.push(...missing);
    }
    return changed;
  }

  private openRoute(route: Route): RouteEntry {
    const entry = this.book.open(route, this.plane.nowNs());
    // The handle comes last: until then nobody has this index, and with it all else is fresh.
    this.plane.rtControl.write(entry.index, { ...emptyControl, handle: entry.handle });
    this.plane.routeNames.write(entry.index, { name: route.name });
    return entry;
  }

  /** What is served no more; all that is served was said, so what nobody claims is deleted. */
  private withdraw(missing: readonly RouteEntry[]): void {
    for (const entry of missing) {
      this.addresses.release(entry, []);
      entry.removed = true;
      entry.asked = undefined;
    }
    this.addresses.sweep();
    this.emptyThoseLeft();
  }

  /** Of a route that is removed, what is left: it goes on answering for an address until that leads elsewhere. */
  private emptyThoseLeft(): void {
    for (const entry of this.book.entries()) {
      if (!entry.removed || entry.emptied || this.addresses.leadTo(entry)) continue;
      for (const endpoint of [...entry.backends.keys()]) this.retire(entry, endpoint);
      this.fillFallback(entry);
      entry.owners = new Uint32Array(0);
      entry.version++;
      entry.emptied = true;
    }
  }

  /** Has addresses lead where they are to, as far as the table in force serves it already. */
  settleAddresses(): void {
    const active = tableOf(this.epoch);
    this.addresses.settle(
      ({ tables, backends }) => tables[active].range.size > 0 || backends.size === 0,
    );
    this.emptyThoseLeft();
  }

  private reconcileBackends(entry: RouteEntry, route: Route): void {
    const wanted = new Map(route.backends.map((endpoint) => [endpointId(endpoint), endpoint]));
    let changed =
      !entry.fallbackIsCurrent || entry.fallback.size !== this.sizeOf(entry, wanted.size);
    for (const id of [...entry.backends.keys()]) {
      if (wanted.has(id)) continue;
      this.retire(entry, id);
      changed = true;
    }
    for (const [id, endpoint] of wanted) {
      const known = entry.backends.get(id);
      if (known !== undefined) {
        // What is said beside the address may have changed, and maps do not keep it.
        entry.backends.set(id, { index: known.index, endpoint });
        continue;
      }
      const index = this.book.openBackend(this.plane.nowNs());
      const generation = this.plane.backends.get(index, 'generation') + 1;
      // Still FREE while it is written: no table names it yet, and none may trust half of it.
      this.plane.backendLive.clear(index);
      this.plane.backendCounters.clear(index);
      for (let lane = 0; lane < Limit.lanes; lane++) {
        this.plane.lanes.clear(index * Limit.lanes + lane);
      }
      this.plane.backends.write(index, {
        ...emptyBackend,
        generation,
        address: ipv4ToNumber(endpoint.address),
        port: endpoint.port,
        route: entry.handle,
      });
      this.plane.backends.write(index, { state: BackendState.healthy });
      entry.backends.set(id, { index, endpoint });
      changed = true;
    }
    if (!changed) return;
    entry.fallbackIsCurrent = false;
    this.fillFallback(entry);
  }

  /** The kernel passes over a retired backend from now on; its index waits for the tables. */
  private retire(entry: RouteEntry, id: string): void {
    const backend = entry.backends.get(id);
    if (backend === undefined) return;
    entry.backends.delete(id);
    this.plane.backends.write(backend.index, {
      state: BackendState.retired,
      retiredNs: this.plane.nowNs(),
    });
    const version = versionWithout(entry, backend.index);
    this.book.retired.push({ index: backend.index, route: entry, version });
  }

  /** Slots that a route of so many backends has; none without any. */
  private sizeOf({ fewestSlots }: RouteEntry, backends: number): number {
    return backends === 0 ? 0 : tableSize(backends, fewestSlots ?? this.options.slotsPerRoute);
  }

  /** In place, an entry at a time: each old and each new owner is one of the route's. */
  private fillFallback(entry: RouteEntry): void {
    const ids = [...entry.backends.keys()];
    const indexes = [...entry.backends.values()].map(({ index }) => index);
    const wanted = this.sizeOf(entry, ids.length);
    const before = entry.fallback;
    if (wanted !== before.size) entry.fallback = this.fallbackRange(wanted);
    const { base, size } = entry.fallback;
    const owners = fillFallback(ids, size).map((position) => indexes[position] ?? None.none);
    this.plane.fallback.set(owners, base);
    this.plane.rtControl.write(entry.index, { fallbackRange: rangeWord(entry.fallback) });
    entry.fallbackIsCurrent = true;
    if (wanted !== before.size) this.book.releaseFallback(before, this.plane.nowNs());
  }

  private fallbackRange(size: number): SlotRange {
    if (size === 0) return noRange;
    return this.book.allocateFallback(size, Limit.slotsPerPage, this.plane.nowNs());
  }

  /** The ring that this route is to have: the owner of each slot, empty for no backends. */
  setOwners(entry: RouteEntry, owners: Uint32Array): void {
    const same =
      owners.length === entry.owners.length &&
      owners.every((owner, i) => owner === entry.owners[i]);
    if (same) return;
    entry.owners = owners;
    entry.version++;
  }

  /** A ring of the size this route needs now, with its present owners repeated over it; not to be written to. */
  ring(entry: RouteEntry): Uint32Array {
    if (entry.backends.size === 0) return new Uint32Array(0);
    const size = Math.max(entry.owners.length, this.sizeOf(entry, entry.backends.size));
    return entry.owners.length === size ? entry.owners : tileOwners(entry.owners, size);
  }

  setBackendState(index: number, state: 'healthy' | 'degraded' | 'isolated'): void {
    const code = BackendState[state];
    if (this.read.state(index) !== code) this.plane.backends.write(index, { state: code });
  }

  /**
   * An isolated backend is tried by one connection in `dripMs`, and by none for the next
   * `remainingMs`. `isProbed`: a connection tries it now, and the kernel has set the next time.
   */
  setDrip(index: number, dripMs: number, remainingMs: number, isProbed: boolean): void {
    const nsOf = (ms: number) => BigInt(Math.round(ms * 1e6));
    const { backendLive } = this.plane;
    if (backendLive.get(index, 'dripNs') !== nsOf(dripMs)) {
      backendLive.write(index, { dripNs: nsOf(dripMs) });
    }
    if (isProbed) return;
    const untilNs = this.plane.nowNs() + nsOf(remainingMs);
    // The time may come earlier or later than was thought, as the agent's own connects end.
    const awayNs = backendLive.get(index, 'suspectUntilNs') - untilNs;
    if (awayNs > dripGrainNs || (remainingMs > 0 && awayNs < -dripGrainNs)) {
      backendLive.write(index, { suspectUntilNs: untilNs });
    }
  }

  /** The valve; soft without a budget admits everything. The budget is there before its mode. */
  setAdmission(entry: RouteEntry, mode: keyof typeof AdmissionMode, budget: Budget | null): void {
    const { rtControl } = this.plane;
    if (budget !== null) rtControl.write(entry.index, budgetWords(budget));
    if (this.read.mode(entry.index) !== AdmissionMode[mode])
      rtControl.write(entry.index, { admissionMode: AdmissionMode[mode] });
  }

  /** Of a hundred connects, those of which what is judged of backends is only observed. */
  setObserved({ index }: RouteEntry, observedPercent: number): void {
    const { rtControl } = this.plane;
    if (this.read.observedPercent(index) !== observedPercent)
      rtControl.write(index, { observedPercent });
  }

  /** The gear of a route whose services leave the choice to the agent. */
  setGear(entry: RouteEntry, gear: GearName): void {
    const { rtControl } = this.plane;
    if (entry.gear === 'auto' && this.read.gear(entry.index) !== Gear[gear])
      rtControl.write(entry.index, { gear: Gear[gear] });
  }

  /**
   * One flow in mask + 1 is measured, and of its exchanges one in skip + 1; a mask
   * is one less than a power of two.
   */
  sampling({ index }: RouteEntry): { readonly mask: number; readonly skip: number } {
    return { mask: this.read.latencyMask(index), skip: this.read.latencySkip(index) };
  }

  setSampling(entry: RouteEntry, latencyMask: number, latencySkip: number): void {
    this.plane.rtControl.write(entry.index, { latencyMask, latencySkip });
  }

  /**
   * Heartbeat, write the inactive table whole, flip. Call it while holding the
   * pin path's lock, so that an operator's flip and this one do not cross.
   */
  project(): ProjectionOutcome {
    if (this.follow()) {
      this.heartbeat();
      this.settleAddresses();
      return { kind: 'followed', epoch: this.epoch };
    }
    this.heartbeat();
    const active = tableOf(this.epoch);
    const inactive = otherTable(active);
    const entries = this.book.entries();
    // A route that is gone is worth no roll-back: it leaves the second table too, at once.
    const moved = entries.some(
      ({ tables, version, removed }) =>
        tables[active].version !== version || (removed && tables[inactive].version !== version),
    );
    if (!moved && !this.mustWrite) {
      this.settleAddresses();
      return { kind: 'unchanged', epoch: this.epoch };
    }

    this.plane.setTableEpoch(inactive, 0n);
    const slotsWritten = this.writeTables(entries, inactive);
    const next = this.epoch + 1n;
    this.plane.setTableEpoch(inactive, next);
    if (!this.plane.flipEpoch(this.epoch, next)) {
      this.follow();
      return { kind: 'followed', epoch: this.epoch };
    }
    this.epoch = next;
    this.mustWrite = false;
    this.settleAddresses();
    this.forget();
    return { kind: 'projected', epoch: next, slotsWritten };
  }

  /** Each route whose owners the table does not hold in their latest version; returns how many slots. */
  private writeTables(entries: readonly RouteEntry[], table: 0 | 1): number {
    const stale = entries.filter(({ tables, version }) => tables[table].version !== version);
    // Those that go or shrink make room for those that come or grow.
    stale.sort((a, b) => growth(a, table) - growth(b, table));
    try {
      return stale.reduce((sum, entry) => sum + this.writeTable(entry, table), 0);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      // There is room, but in pieces. Nobody decides by this table now: all of it is laid out anew.
      return this.layOut(entries, table);
    }
  }

  /** The largest first: ranges of a power of two then leave no gap. */
  private layOut(entries: readonly RouteEntry[], table: 0 | 1): number {
    this.book.slots[table].clear();
    for (const { tables } of entries) Object.assign(tables[table], { range: noRange, version: -1 });
    return [...entries]
      .sort((a, b) => b.owners.length - a.owners.length)
      .reduce((sum, entry) => sum + this.writeTable(entry, table), 0);
  }

  private writeTable(entry: RouteEntry, table: 0 | 1): number {
    const copy = entry.tables[table];
    // Where nobody knows what is there, a predecessor's range may still be written down.
    if (copy.range.size !== entry.owners.length || copy.version < 0) {
      this.book.slots[table].release(copy.range);
      copy.range =
        entry.owners.length === 0 ? noRange : this.book.slots[table].allocate(entry.owners.length);
      const ranges = this.plane.rtControl.get(entry.index, 'slotRange');
      ranges[table] = rangeWord(copy.range);
      this.plane.rtControl.write(entry.index, { slotRange: ranges });
    }
    this.plane.slotTables[table].set(entry.owners, copy.range.base);
    this.writeShares(entry, table);
    copy.version = entry.version;
    return entry.owners.length;
  }

  /** How many slots each backend owns in this table: what the twin gear divides by. */
  private writeShares(entry: RouteEntry, table: 0 | 1): void {
    const { shares } = this;
    for (const { index } of entry.backends.values()) shares[index] = 0;
    // Owners that left the route are retired: what they own no longer weighs anything.
    for (const owner of entry.owners) shares[owner] = (shares[owner] ?? 0) + 1;
    for (const { index } of entry.backends.values()) {
      this.writeSlots(index, shares[index] ?? 0, table);
    }
  }

  /** Gives back what both tables have forgotten; indices come back after the grace time. */
  private forget(): void {
    const reusableAtNs = this.plane.nowNs() + graceNs;
    const forgotten = ({ tables }: RouteEntry, version: number) =>
      tables.every((copy) => copy.version >= version);
    const still = this.book.retired.splice(0).filter(({ index, route, version }) => {
      if (!forgotten(route, version)) return true;
      // Its generation stays, for its next endpoint to count on from.
      this.plane.backends.write(index, emptyBackend);
      this.book.backendIndexes.release(index, reusableAtNs);
      return false;
    });
    this.book.retired.push(...still);
    for (const entry of this.book.entries()) {
      if (!entry.emptied || !forgotten(entry, entry.version)) continue;
      // Its handle stays, for the next route to count on from.
      this.plane.rtControl.write(entry.index, emptyControl);
      this.plane.routeNames.clear(entry.index);
      this.book.forget(entry);
      this.book.routeIndexes.release(entry.index, reusableAtNs);
    }
  }
}

/** By how many slots a route is to have more in a table than it has there now. */
function growth({ owners, tables }: RouteEntry, table: 0 | 1): number {
  return owners.length - tables[table].range.size;
}
