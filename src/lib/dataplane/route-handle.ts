// A route group's two numbers: its index says where it stands in rt_control and route_names,
// its handle names it and no later holder of the same index (contract.h, RFC 0004).
import { Limit } from './abi.js';
import type { Plane } from './plane.js';

declare const index: unique symbol;
declare const handle: unique symbol;

export type RouteIndex = number & { readonly [index]: 'RouteIndex' };
export type RouteHandle = number & { readonly [handle]: 'RouteHandle' };

const indexSpan = 2 ** Limit.routeIndexBits;
const generations = 2 ** (32 - Limit.routeIndexBits);

export function routeIndexOf(of: RouteHandle): RouteIndex {
  return (of % indexSpan) as RouteIndex;
}

/** The handle of the next holder of an index whose last one had `before`; 0 for none. */
export function nextHandle(at: RouteIndex, before: RouteHandle): RouteHandle {
  const generation = (Math.floor(before / indexSpan) + 1) % generations;
  return (generation * indexSpan + at) as RouteHandle;
}

/** The handle that the control at an index is of, or was of last; 0 if it never was anybody's. */
export function handleAt(plane: Plane, at: RouteIndex): RouteHandle {
  return plane.rtControl.get(at, 'handle') as RouteHandle;
}

/** The route that a backend belongs to, by its own word. */
export function routeOfBackend(plane: Plane, backend: number): RouteHandle {
  return plane.backends.get(backend, 'route') as RouteHandle;
}
