// How full the maps are that can be full: what is served no longer fits then, and
// is refused. Read from the maps themselves, so it needs no agent.
import { BackendState } from './abi.js';
import { tableOf, type Plane } from './plane.js';

export const boundedTables = ['addresses', 'routes', 'backends', 'slots'] as const;
export type BoundedTable = (typeof boundedTables)[number];

export interface TableUse {
  readonly used: number;
  readonly capacity: number;
}

/** `addresses` counts those in use, for whoever knows without asking the kernel for all of them. */
export function tableUse(
  plane: Plane,
  addresses = () => plane.routes.entries().count,
): Record<BoundedTable, TableUse> {
  return {
    addresses: {
      used: addresses(),
      capacity: plane.routes.info().maxEntries,
    },
    // Index 0 of both is nobody's.
    routes: { used: namedRoutes(plane), capacity: plane.routeNames.length - 1 },
    backends: { used: backendsInUse(plane), capacity: plane.backends.length - 1 },
    slots: { used: slotsInUse(plane), capacity: plane.slotTables[0].length },
  };
}

/** A name's first byte tells whether there is one: decoding all of them would take longer. */
function namedRoutes({ routeNames }: Plane): number {
  const bytes = new Uint8Array(routeNames.buffer);
  const { size } = routeNames.codec;
  let used = 0;
  for (let index = 1; index < routeNames.length; index++) {
    if (bytes[index * size] !== 0) used++;
  }
  return used;
}

/** Retired ones count: their index is not free before their grace time is over. */
function backendsInUse({ backends }: Plane): number {
  const state = backends.reader('state');
  let used = 0;
  for (let index = 1; index < backends.length; index++) {
    if (state(index) !== BackendState.free) used++;
  }
  return used;
}

/** Of the table that the newest epoch names. */
function slotsInUse(plane: Plane): number {
  const { rtControl } = plane;
  const { size } = rtControl.codec;
  // A range's size is the upper half of its word.
  const at = rtControl.codec.place('slotRange').offset + tableOf(plane.word('epoch')) * 8 + 4;
  let used = 0;
  for (let index = 1; index < rtControl.length; index++) {
    used += rtControl.view.getUint32(index * size + at, true);
  }
  return used;
}
