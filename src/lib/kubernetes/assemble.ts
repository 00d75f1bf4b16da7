// The routes of all Services together: one owner for each address, none where the agent
// itself must pass, and no more than the dataplane holds. What is left out is listed.
import type { Route, RouteSet, VirtualAddress } from '../routes/route-set.js';
import type { ServiceRoutes, Skipped, SkipReason } from './service-routes.js';

/** How much the dataplane's maps hold. */
export interface Capacity {
  readonly addresses: number;
  readonly routes: number;
  readonly backends: number;
  readonly slots: number;
  /** Slots of a route of so many backends; `fewest` if its own are fixed. */
  readonly slotsOf: (backends: number, fewest: number | undefined) => number;
}

/** One Service's part, with what decides between it and another. */
export interface Claimant {
  readonly key: string;
  readonly createdMs: number;
  readonly made: ServiceRoutes;
}

export interface Assembled {
  readonly routes: RouteSet;
  readonly skipped: readonly Skipped[];
}

function idOf({ vip, port }: VirtualAddress): string {
  return `${vip}:${port}`;
}

/** The older one; of two made in one second, the first by name. Every node decides alike. */
function precedes(a: Claimant, b: Claimant): boolean {
  if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs;
  return a.key < b.key;
}

class Room {
  private readonly used = { addresses: 0, routes: 0, backends: 0, slots: 0 };

  constructor(private readonly capacity: Capacity) {}

  /** Undefined if the route fits, which is then counted; else what there is too little of. */
  take({ addresses, backends, slots }: Route): string | undefined {
    const needs = {
      addresses: addresses.length,
      routes: 1,
      backends: backends.length,
      slots: this.capacity.slotsOf(backends.length, slots),
    };
    const kinds = ['addresses', 'routes', 'backends', 'slots'] as const;
    const short = kinds.find((kind) => this.used[kind] + needs[kind] > this.capacity[kind]);
    if (short !== undefined) return `${short}: there is room for ${this.capacity[short]}`;
    for (const kind of kinds) this.used[kind] += needs[kind];
    return undefined;
  }
}

/** Keeps what it made, so that a route which did not change is the same object again. */
export class Assembler {
  private readonly narrowed = new Map<Route, Route>();
  private ordered: readonly Claimant[] = [];

  /** `excluded` are addresses, "ip:port", that must never pass through Nity. */
  assemble(
    claimants: ReadonlyMap<string, Claimant>,
    excluded: ReadonlySet<string>,
    capacity: Capacity,
  ): Assembled {
    const ordered = this.inOrder(claimants);
    const owners = new Map<string, { readonly route: Route; readonly key: string }>();
    for (const { key, made } of ordered) {
      for (const route of made.routes) {
        for (const address of route.addresses) {
          const id = idOf(address);
          if (!owners.has(id)) owners.set(id, { route, key });
        }
      }
    }
    const routes: Route[] = [];
    const skipped: Skipped[] = [];
    const kept = new Set<Route>();
    const room = new Room(capacity);
    for (const claimant of ordered) {
      skipped.push(...claimant.made.skipped);
      for (const route of claimant.made.routes) {
        const left = (address: VirtualAddress, reason: SkipReason, detail: string) => {
          const port = route.name.slice(claimant.key.length + 1);
          skipped.push({ service: claimant.key, port, address: idOf(address), reason, detail });
        };
        const served = route.addresses.filter((address) => {
          const id = idOf(address);
          const owner = owners.get(id);
          if (excluded.has(id)) left(address, 'agentApi', id);
          else if (owner?.route !== route) left(address, 'taken', owner?.key ?? '');
          else return true;
          return false;
        });
        if (served.length === 0) continue;
        const final = served.length === route.addresses.length ? route : this.narrow(route, served);
        const short = room.take(final);
        if (short === undefined) routes.push(final);
        else for (const address of served) left(address, 'room', short);
        kept.add(route);
      }
    }
    for (const route of this.narrowed.keys()) if (!kept.has(route)) this.narrowed.delete(route);
    return { routes, skipped };
  }

  private narrow(route: Route, addresses: readonly VirtualAddress[]): Route {
    const before = this.narrowed.get(route);
    const same =
      before?.addresses.length === addresses.length &&
      addresses.every((address, i) => address === before.addresses[i]);
    if (same) return before;
    const narrowed = { ...route, addresses };
    this.narrowed.set(route, narrowed);
    return narrowed;
  }

  /** Who comes first also gets room first: what is served stays served when it runs out. */
  private inOrder(claimants: ReadonlyMap<string, Claimant>): readonly Claimant[] {
    const known = this.ordered;
    const same =
      known.length === claimants.size &&
      known.every(({ key, createdMs }) => claimants.get(key)?.createdMs === createdMs);
    this.ordered = same
      ? known.flatMap(({ key }) => claimants.get(key) ?? [])
      : [...claimants.values()].sort((a, b) => (precedes(a, b) ? -1 : 1));
    return this.ordered;
  }
}
