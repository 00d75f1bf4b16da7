// Looks into the tables that the kernel reads, after each tick: whether the one in force
// is whole and says what the law decided, and how many slots changed hands for it.
import type { Tick } from '../../agent/agent.js';
import type { RouteEntry } from '../../dataplane/book.js';
import { rangeOf, tableOf, type Plane } from '../../dataplane/plane.js';
import { routeOfBackend } from '../../dataplane/route-handle.js';
import type { Verdict, Violation } from '../invariant.js';
import { Tally } from './tally.js';

/** Slots by owner, an index of a backend. */
function countsOf(owners: Uint32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const owner of owners) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
}

/** Slots that must change hands between two such counts, if no more do. */
function leastChanges(before: Map<number, number>, after: Map<number, number>): number {
  let gains = 0;
  for (const [owner, count] of after) gains += Math.max(0, count - (before.get(owner) ?? 0));
  return gains;
}

const coherence = {
  says: ({ seen }: { seen: number }) =>
    seen === Infinity
      ? 'The table in force is not the one that its epoch names.'
      : `${seen} slots of the table in force are not whose the law gave them.`,
};
const boundary = {
  says: ({ seen }: { seen: number }) =>
    `${seen} slots of the table in force name another's backend.`,
};
const remap = {
  says: ({ seen, limit }: { seen: number; limit: number }) =>
    `${seen} slots changed hands, where ${limit} suffice for the new counts.`,
};

export class TablesWatch {
  private readonly coherence = new Tally('coherence');
  private readonly boundary = new Tally('boundary');
  private readonly remap = new Tally('bounded-remap');
  private readonly before = new Map<string, Uint32Array>();
  private epoch = -1n;

  constructor(private readonly plane: Plane) {}

  /** `entries` are the routes that the agent serves. */
  see(tick: Tick, atMs: number, entries: Iterable<RouteEntry>): Violation[] {
    const { plane } = this;
    const epoch = plane.word('epoch');
    if (epoch === this.epoch) return [];
    this.epoch = epoch;
    const table = tableOf(epoch);
    const moment = { sequence: tick.sequence, atMs };
    const found: (Violation | null)[] = [];
    if (plane.tableEpoch(table) !== epoch) {
      const sight = { seen: Infinity, limit: 0, backend: null };
      found.push(this.coherence.note(sight, moment, '', coherence));
    }
    for (const entry of entries) {
      if (entry.removed) continue;
      const { base, size } = rangeOf(plane.rtControl.get(entry.index, 'slotRange')[table] ?? 0n);
      const owners = plane.slotTables[table].slice(base, base + size);
      found.push(...this.examine(tick, moment, entry, owners));
      this.before.set(entry.name, owners);
    }
    return found.filter((violation) => violation !== null);
  }

  verdicts(): Verdict[] {
    return [this.coherence, this.boundary, this.remap].map((tally) => tally.verdict());
  }

  private examine(
    { outcome, field, observed }: Tick,
    moment: { readonly sequence: number; readonly atMs: number },
    { name, handle, backends }: RouteEntry,
    owners: Uint32Array,
  ): (Violation | null)[] {
    const counts = countsOf(owners);
    let foreign = 0;
    for (const [owner, count] of counts) {
      if (routeOfBackend(this.plane, owner) !== handle) foreign += count;
    }
    const found = [
      this.boundary.note({ seen: foreign, limit: 0, backend: null }, moment, name, boundary),
    ];
    const route = field.routes.find((each) => each.name === name);
    // What is only observed is not in force, and is not meant to be.
    if (outcome.kind === 'projected' && route !== undefined && !observed.has(name)) {
      let wrong = 0;
      for (const { id, slots } of route.backends) {
        const owner = backends.get(id)?.index;
        wrong += Math.abs(slots - (owner === undefined ? 0 : (counts.get(owner) ?? 0)));
      }
      const sight = { seen: wrong, limit: 0, backend: null };
      found.push(this.coherence.note(sight, moment, name, coherence));
    }
    const before = this.before.get(name);
    if (before?.length === owners.length) {
      const changed = owners.reduce((sum, owner, i) => sum + (owner === before[i] ? 0 : 1), 0);
      const limit = leastChanges(countsOf(before), counts);
      found.push(this.remap.note({ seen: changed, limit, backend: null }, moment, name, remap));
    }
    return found;
  }
}
