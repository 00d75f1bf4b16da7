// Writes the field into the kernel: the order of its writes is the contract
// (RFC 0003), so that at every instant, wherever the agent dies, held_epoch
// names a complete table.
import { Gear, BackendState, None, AdmissionMode } from './abi.js';
import { budgetWords, type Budget } from './control.js';
import { addressKey, Book, freshControl, tableSize, tileOwners, type RouteEntry } from './book.js';
import { fillFallback } from './fallback-set.js';
import { ipv4ToNumber } from './ipv4.js';
import { codecs, noRange, otherTable, rangeWord, tableOf, type Plane } from './plane.js';
import { endpointId, type Route, type RouteSet, type VirtualAddress } from '../routes/route-set.js';
import { InputError } from '../errors.js';

/** Past this, no decision that started before a table was rewritten can still be under way. */
const graceNs = 2_000_000_000n;

const tcp = 6;

export type ProjectionOutcome =
  | { readonly kind: 'projected'; readonly epoch: bigint; readonly slotsWritten: number }
  /** Nothing differs from what the active table says. */
  | { readonly kind: 'unchanged'; readonly epoch: bigint }
  /** Another flipped since the last look; the field was taken over from there. */
  | { readonly kind: 'followed'; readonly epoch: bigint };

export interface ProjectorOptions {
  /** Fewest slots of a route; a power of two. */
  readonly slotsPerRoute: number;
  readonly defaultGear: 'single' | 'twin';
}

function routeKey({ vip, port }: VirtualAddress): Uint8Array {
  return codecs.routeKey.encode({ vip: ipv4ToNumber(vip), port, protocol: tcp });
}

export class Projector {
  readonly book: Book;
  private epoch: bigint;
  private mustWrite = true;
  /** Addresses that are dialled only once the table that serves them is in force. */
  private readonly unpublished = new Map<string, { address: VirtualAddress; route: RouteEntry }>();

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
      latencyMask: plane.rtControl.reader('latencyMask'),
      latencySkip: plane.rtControl.reader('latencySkip'),
    };
    this.epoch = plane.word('epoch');
    this.book = new Book(plane);
    this.book.adopt(tableOf(this.epoch));
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

  /** Throws before anything is written if the maps are too small for `routes`. */
  private requireRoom(routes: RouteSet, kept: readonly RouteEntry[]): void {
    const nowNs = this.plane.nowNs();
    const { book } = this;
    let backends = 0;
    for (const route of routes) {
      const known = book.routes.get(route.name);
      if (known?.asked === route) continue;
      backends += route.backends.filter(
        (endpoint) => known?.backends.has(endpointId(endpoint)) !== true,
      ).length;
    }
    const wants: readonly (readonly [string, number, number, string])[] = [
      [
        'addresses',
        routes.reduce((sum, route) => sum + route.addresses.length, 0) +
          kept.reduce((sum, entry) => sum + entry.addresses.size, 0),
        this.plane.routes.info().maxEntries,
        '--max-addresses',
      ],
      [
        'new routes',
        routes.filter(({ name }) => !book.routes.has(name)).length,
        book.routeIndexes.room(nowNs),
        '--max-routes',
      ],
      ['new backends', backends, book.backendIndexes.room(nowNs), '--max-backends'],
      [
        'slots',
        this.slotsNeeded(routes) + kept.reduce((sum, entry) => sum + entry.owners.length, 0),
        this.plane.slotTables[0].length,
        '--max-slots',
      ],
    ];
    for (const [what, needed, room, flag] of wants) {
      if (needed <= room) continue;
      throw new InputError(
        `${needed} ${what} are to be served, but the dataplane has room for ${room}.`,
        `Serve fewer, or run \`nity unload\` and \`nity load\` with a larger ${flag}.`,
      );
    }
  }

  private slotsNeeded(routes: RouteSet): number {
    return routes.reduce(
      (sum, { backends, slots }) =>
        sum + tableSize(backends.length, slots ?? this.options.slotsPerRoute),
      0,
    );
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
    this.requireRoom(routes, isWhole ? [] : missing);
    const changed: RouteEntry[] = [];
    if (isWhole) {
      for (const entry of missing) this.withdraw(entry);
      changed.push(...missing);
    }
    const fresh = routes.filter((route) => this.book.routes.get(route.name)?.asked !== route);
    // Before any is given: an address may go from one route to another.
    for (const route of fresh) this.releaseAddresses(route);
    for (const route of fresh) {
      const known = this.book.routes.get(route.name);
      const entry = known ?? this.openRoute(route);
      entry.removed = false;
      entry.fewestSlots = route.slots;
      this.reconcileBackends(entry, route);
      this.publishLater(entry, route);
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
    return changed;
  }

  private openRoute(route: Route): RouteEntry {
    const entry = this.book.open(route, this.plane.nowNs());
    this.plane.rtControl.write(entry.index, { ...freshControl, slotRange: [0n, 0n] });
    this.plane.routeNames.write(entry.index, { name: route.name });
    return entry;
  }

  private withdraw(entry: RouteEntry): void {
    if (entry.removed) return;
    for (const address of entry.addresses.values()) this.unpublish(entry, address);
    for (const endpoint of [...entry.backends.keys()]) this.retire(entry, endpoint);
    this.fillFallback(entry);
    entry.owners = new Uint32Array(0);
    entry.version++;
    entry.removed = true;
    entry.asked = undefined;
  }

  /**
   * Takes an address back. Where routes are handed over in parts, another may have it by now:
   * it stays that one's, and until its table is in force the kernel keeps what it has.
   */
  private unpublish(entry: RouteEntry, address: VirtualAddress): void {
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

  /** Takes back the addresses that the route is to have no more. */
  private releaseAddresses(route: Route): void {
    const entry = this.book.routes.get(route.name);
    if (entry === undefined) return;
    const wanted = new Set(route.addresses.map(addressKey));
    for (const [key, address] of [...entry.addresses]) {
      if (!wanted.has(key)) this.unpublish(entry, address);
    }
  }

  private publishLater(entry: RouteEntry, route: Route): void {
    for (const address of route.addresses) {
      const key = addressKey(address);
      if (entry.addresses.has(key)) continue;
      entry.addresses.set(key, address);
      this.unpublished.set(key, { address, route: entry });
    }
  }

  private reconcileBackends(entry: RouteEntry, route: Route): void {
    const wanted = new Map(route.backends.map((endpoint) => [endpointId(endpoint), endpoint]));
    let changed = entry.fallback.size !== this.sizeOf(entry, wanted.size);
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
      const index = this.book.backendIndexes.allocate(this.plane.nowNs());
      const generation = this.plane.backends.get(index, 'generation') + 1;
      // Still FREE while it is written: no table names it yet, and none may trust half of it.
      this.plane.backends.clear(index);
      this.plane.backendLive.clear(index);
      this.plane.backendCounters.clear(index);
      this.plane.backends.write(index, {
        address: ipv4ToNumber(endpoint.address),
        port: endpoint.port,
        route: entry.index,
        generation,
      });
      this.plane.backends.write(index, { state: BackendState.healthy });
      entry.backends.set(id, { index, endpoint });
      changed = true;
    }
    if (changed) this.fillFallback(entry);
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
    this.book.retired.push({ index: backend.index, route: entry, version: entry.version + 1 });
  }

  /** Slots that a route of so many backends has; none without any. */
  private sizeOf({ fewestSlots }: RouteEntry, backends: number): number {
    return backends === 0 ? 0 : tableSize(backends, fewestSlots ?? this.options.slotsPerRoute);
  }

  /** In place, an entry at a time: each old and each new owner is one of the route's. */
  private fillFallback(entry: RouteEntry): void {
    const ids = [...entry.backends.keys()];
    const indexes = [...entry.backends.values()].map(({ index }) => index);
    const size = this.sizeOf(entry, ids.length);
    const before = entry.fallback;
    if (size !== before.size)
      entry.fallback = size === 0 ? noRange : this.book.fallback.allocate(size);
    const { base } = entry.fallback;
    fillFallback(ids, size).forEach((position, slot) => {
      this.plane.fallback[base + slot] = indexes[position] ?? None.none;
    });
    this.plane.rtControl.write(entry.index, { fallbackRange: rangeWord(entry.fallback) });
    if (size !== before.size) this.book.fallback.release(before);
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
   * `firstMs`. Kept as it is if the kernel goes by this drip already, unless it `begins`.
   */
  setDrip(index: number, dripMs: number, firstMs: number, begins: boolean): void {
    const nsOf = (ms: number) => BigInt(Math.round(ms * 1e6));
    const { backendLive } = this.plane;
    const isolated = this.read.state(index) === BackendState.isolated;
    if (!begins && isolated && backendLive.get(index, 'dripNs') === nsOf(dripMs)) return;
    backendLive.write(index, { dripNs: nsOf(dripMs) });
    backendLive.write(index, { suspectUntilNs: this.plane.nowNs() + nsOf(firstMs) });
  }

  /** The valve; soft without a budget admits everything. The budget is there before its mode. */
  setAdmission(entry: RouteEntry, mode: keyof typeof AdmissionMode, budget: Budget | null): void {
    const { rtControl } = this.plane;
    if (budget !== null) rtControl.write(entry.index, budgetWords(budget));
    if (this.read.mode(entry.index) !== AdmissionMode[mode])
      rtControl.write(entry.index, { admissionMode: AdmissionMode[mode] });
  }

  /** The gear of a route whose services leave the choice to the agent. */
  setGear(entry: RouteEntry, gear: 'single' | 'twin'): void {
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
      return { kind: 'followed', epoch: this.epoch };
    }
    this.heartbeat();
    const active = tableOf(this.epoch);
    const inactive = otherTable(active);
    const entries = [...this.book.routes.values()];
    // A route that is gone is worth no roll-back: it leaves the second table too, at once.
    const moved = entries.some(
      ({ tables, version, removed }) =>
        tables[active].version !== version || (removed && tables[inactive].version !== version),
    );
    if (!moved && !this.mustWrite) return { kind: 'unchanged', epoch: this.epoch };

    this.plane.setTableEpoch(inactive, 0n);
    let slotsWritten = 0;
    for (const entry of entries) {
      if (entry.tables[inactive].version === entry.version) continue;
      slotsWritten += this.writeTable(entry, inactive);
    }
    const next = this.epoch + 1n;
    this.plane.setTableEpoch(inactive, next);
    if (!this.plane.flipEpoch(this.epoch, next)) {
      this.follow();
      return { kind: 'followed', epoch: this.epoch };
    }
    this.epoch = next;
    this.mustWrite = false;
    this.publish();
    this.forget();
    return { kind: 'projected', epoch: next, slotsWritten };
  }

  private writeTable(entry: RouteEntry, table: 0 | 1): number {
    const copy = entry.tables[table];
    if (copy.range.size !== entry.owners.length) {
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

  /** All addresses that are new, in one call: at start there may be thousands. */
  private publish(): void {
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

  /** Gives back what both tables have forgotten; indices come back after the grace time. */
  private forget(): void {
    const reusableAtNs = this.plane.nowNs() + graceNs;
    const forgotten = ({ tables }: RouteEntry, version: number) =>
      tables.every((copy) => copy.version >= version);
    const still = this.book.retired.splice(0).filter(({ index, route, version }) => {
      if (!forgotten(route, version)) return true;
      const { generation } = this.plane.backends.read(index);
      this.plane.backends.clear(index);
      this.plane.backends.write(index, { generation });
      this.book.backendIndexes.release(index, reusableAtNs);
      return false;
    });
    this.book.retired.push(...still);
    for (const entry of this.book.routes.values()) {
      if (!entry.removed || !forgotten(entry, entry.version)) continue;
      this.plane.rtControl.clear(entry.index);
      this.plane.routeNames.clear(entry.index);
      this.book.routes.delete(entry.name);
      this.book.routeIndexes.release(entry.index, reusableAtNs);
    }
  }
}
