// Whether the maps have room for what is to be served, asked before any of it is written.
import { InputError } from '../errors.js';
import { endpointId, type RouteSet } from '../routes/route-set.js';
import { tableSize, type Book, type RouteEntry } from './book.js';
import type { Plane } from './plane.js';

/** Throws, before anything is written, if the maps are too small for `routes` beside those that are `kept`. */
export function requireRoom(
  plane: Plane,
  book: Book,
  routes: RouteSet,
  kept: readonly RouteEntry[],
  slotsPerRoute: number,
): void {
  const nowNs = plane.nowNs();
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
      plane.routes.info().maxEntries,
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
      slotsNeeded(book, routes, slotsPerRoute) +
        kept.reduce((sum, entry) => sum + entry.owners.length, 0),
      plane.slotTables[0].length,
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

/** A ring that has once grown does not shrink while the route has backends. */
function slotsNeeded(book: Book, routes: RouteSet, slotsPerRoute: number): number {
  return routes.reduce((sum, { name, backends, slots }) => {
    const ring = backends.length === 0 ? undefined : book.routes.get(name)?.owners.length;
    return sum + Math.max(ring ?? 0, tableSize(backends.length, slots ?? slotsPerRoute));
  }, 0);
}
