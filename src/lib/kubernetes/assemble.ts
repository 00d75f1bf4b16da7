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
    const short = kinds.find((kind) => this.used[kind] + needs[kind] > this.capacity[kind]);
    if (short !== undefined) return `${short}: there is room for ${this.capacity[short]}`;
    for (const kind of kinds) this.used[kind] += needs[kind];
    return undefined;
  }
}

const kinds = ['addresses', 'routes', 'backends', 'slots'] as const;

/** A route as its Service has it, and with the addresses that it may have. */
interface Share {
  readonly route: Route;
  /** Undefined if none is left. */
  readonly served: Route | undefined;
}

/** What one Service has of the whole, while nobody's addresses change. */
interface Part {
  readonly made: ServiceRoutes;
  readonly shares: readonly Share[];
  readonly skipped: readonly Skipped[];
}

function sameAddresses(a: readonly VirtualAddress[], b: readonly VirtualAddress[]): boolean {
  return (
    a.length === b.length && a.every(({ vip, port }, i) => vip === b[i]?.vip && port === b[i].port)
  );
}

/** The same claims: its routes lead elsewhere at most. */
function claimsAlike(a: ServiceRoutes, b: ServiceRoutes): boolean {
  return (
    a.routes.length === b.routes.length &&
    a.routes.every(({ name, addresses }, i) => {
      const other = b.routes[i];
      return other?.name === name && sameAddresses(addresses, other.addresses);
    })
  );
}

/**
 * Keeps what it made: a route which did not change is the same object again, and endpoints
 * that come and go, which is nearly all that happens, cost their own Service alone.
 */
export class Assembler {
  private readonly parts = new Map<string, Part>();
  /** Whose each address is. */
  private readonly owners = new Map<string, { readonly key: string; readonly route: string }>();
  private ordered: readonly Claimant[] = [];
  private excluded: ReadonlySet<string> | undefined;

  /** `excluded` are addresses, "ip:port", that must never pass through Nity. */
  assemble(
    claimants: ReadonlyMap<string, Claimant>,
    excluded: ReadonlySet<string>,
    capacity: Capacity,
  ): Assembled {
    this.settle(claimants, excluded);
    const routes: Route[] = [];
    const skipped: Skipped[] = [];
    const room = new Room(capacity);
    for (const claimant of this.ordered) {
      const part = this.part(claimant, excluded);
      skipped.push(...part.skipped);
      for (const { served } of part.shares) {
        if (served === undefined) continue;
        const short = room.take(served);
        if (short === undefined) routes.push(served);
        else skipped.push(...leftOf(claimant.key, served, served.addresses, 'room', short));
      }
    }
    return { routes, skipped };
  }

  /** Says whose each address is, unless all claims are as they were. */
  private settle(claimants: ReadonlyMap<string, Claimant>, excluded: ReadonlySet<string>): void {
    const known = this.ordered;
    const sameOrder =
      known.length === claimants.size &&
      known.every(({ key, createdMs }) => claimants.get(key)?.createdMs === createdMs);
    // Who comes first also gets room first: what is served stays served when it runs out.
    this.ordered = sameOrder
      ? known.flatMap(({ key }) => claimants.get(key) ?? [])
      : [...claimants.values()].sort((a, b) => (precedes(a, b) ? -1 : 1));
    const sameClaims =
      sameOrder &&
      excluded === this.excluded &&
      this.ordered.every(({ key, made }) => {
        const before = this.parts.get(key)?.made;
        return before !== undefined && (before === made || claimsAlike(before, made));
      });
    if (sameClaims) return;
    this.excluded = excluded;
    for (const [key, { shares }] of this.parts) {
      if (!claimants.has(key)) this.parts.delete(key);
      else this.parts.set(key, { made: unsettled, shares, skipped: [] });
    }
    this.owners.clear();
    for (const { key, made } of this.ordered) {
      for (const route of made.routes) {
        for (const address of route.addresses) {
          const id = idOf(address);
          if (!this.owners.has(id)) this.owners.set(id, { key, route: route.name });
        }
      }
    }
  }

  private part({ key, made }: Claimant, excluded: ReadonlySet<string>): Part {
    const before = this.parts.get(key);
    if (before?.made === made) return before;
    const skipped = [...made.skipped];
    const shares = made.routes.map((route): Share => {
      const mine = route.addresses.filter((address) => {
        const id = idOf(address);
        const owner = this.owners.get(id);
        const isMine = owner?.key === key && owner.route === route.name;
        if (excluded.has(id)) skipped.push(...leftOf(key, route, [address], 'agentApi', id));
        else if (isMine) return true;
        else skipped.push(...leftOf(key, route, [address], 'taken', owner?.key ?? ''));
        return false;
      });
      if (mine.length === 0) return { route, served: undefined };
      if (mine.length === route.addresses.length) return { route, served: route };
      const narrowed = before?.shares.find((share) => share.route === route)?.served;
      return narrowed !== undefined && sameAddresses(narrowed.addresses, mine)
        ? { route, served: narrowed }
        : { route, served: { ...route, addresses: mine } };
    });
    const part = { made, shares, skipped };
    this.parts.set(key, part);
    return part;
  }
}

/** No Service's routes. */
const unsettled: ServiceRoutes = { routes: [], skipped: [] };

function leftOf(
  key: string,
  { name }: Route,
  addresses: readonly VirtualAddress[],
  reason: SkipReason,
  detail: string,
): Skipped[] {
  const port = name.slice(key.length + 1);
  return addresses.map((address) => ({
    service: key,
    port,
    address: idOf(address),
    reason,
    detail,
  }));
}
