// What is served, whoever says so: a services file or the cluster.

declare const brand: unique symbol;
/** "namespace/service:port", the port by name or number. */
export type RouteName = string & { readonly [brand]: 'RouteName' };

/**
 * A cgroup below the root, as in /proc/PID/cgroup: absolute, and without `.`, `..`, an empty
 * part or a control character, for it becomes part of a path that is opened.
 */
export const cgroupPath = /^(?:\/(?!\.{1,2}(?:\/|$))[^/\p{Cc}]+)+$/u;

/** Most backends of one route: its slots and its part of a tick are bounded by it. */
export const mostBackends = 1024;

/** An IPv4 address as a dotted quad, and a TCP port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** Of a local backend, "/kubepods/…": its stalls are part of its pressure. */
  readonly cgroup?: string;
}

export interface VirtualAddress {
  readonly vip: string;
  readonly port: number;
  readonly protocol: 'TCP';
}

export type Affinity =
  { readonly kind: 'none' } | { readonly kind: 'clientIP'; readonly timeoutSeconds: number };

/** `auto` leaves the choice of the gear to the agent. */
export type GearChoice = 'auto' | 'single' | 'twin';

/** `auto` leaves the valve to the law; else it stands so, whatever the law asks. */
export type ModeChoice = 'auto' | 'normal' | 'soft' | 'hard';

/** What the owner of a service may fix of its routes. */
export interface RouteKnobs {
  readonly gear?: GearChoice;
  readonly mode?: ModeChoice;
  /** Fewest slots; a power of two. */
  readonly slots?: number;
  /** What is normal from a request's first byte to its answer's; without it, what is usual. */
  readonly latencyReferenceMs?: number;
  /** Of a hundred connects, those on which what is judged is acted; without it, as elsewhere said. */
  readonly enforcePercent?: number;
}

export interface Route {
  readonly name: RouteName;
  readonly addresses: readonly VirtualAddress[];
  readonly backends: readonly Endpoint[];
  readonly affinity: Affinity;
  readonly gear: GearChoice;
  readonly mode?: ModeChoice;
  /** Fewest slots, a power of two; without it, those of every route. */
  readonly slots?: number;
  /** What is normal from a request's first byte to its answer's; without it, what is usual. */
  readonly latencyReferenceMs?: number;
  /** Of a hundred connects, those on which what is judged is acted; without it, as elsewhere said. */
  readonly enforcePercent?: number;
}

export type RouteSet = readonly Route[];

export function endpointId({ address, port }: Endpoint): string {
  return `${address}:${port}`;
}

export function routeName(service: string, port: string | number): RouteName {
  return `${service}:${port}` as RouteName;
}

export function namespaceOf(route: string): string {
  return route.slice(0, Math.max(0, route.indexOf('/')));
}

/** "namespace/service" of such a name. */
export function serviceOf(route: string): string {
  return route.slice(0, route.lastIndexOf(':'));
}
