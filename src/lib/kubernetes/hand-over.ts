// Routes on their way to the dataplane: in parts where many changed, so that no tick takes
// long, and as many as fit where not all do.
import type { AgentLog } from '../agent/log.js';
import { InputError } from '../errors.js';
import type { Route, RouteSet } from '../routes/route-set.js';

/** `isWhole`: what is not among these routes is served no more. */
export type Serve = (routes: RouteSet, isWhole: boolean) => void;

/** What a route costs whatever it has, in backends. */
export const routeAlone = 4;

export class HandOver {
  private wanted: RouteSet = [];
  private served: RouteSet | undefined;
  private complete = false;
  /** A whole cluster was set together, which was enough for one tick. */
  private isFirst = false;
  /** Routes that were in a part since the last time that all were served. */
  private readonly hadTurn = new Set<string>();
  /** What was told already of a part that did not fit. */
  private refusal: string | undefined;

  /** A part has new or changed routes of about so many backends, and one at least. */
  constructor(
    private readonly backendsAtOnce: number,
    private readonly log: AgentLog,
  ) {}

  /** All that is wanted was handed over. */
  get isComplete(): boolean {
    return this.complete;
  }

  /** How many routes were handed over last. */
  get count(): number {
    return this.served?.length ?? 0;
  }

  /** Objects that were written again, or listed anew, and lead where they led, change nothing. */
  want(routes: RouteSet): void {
    const { wanted } = this;
    const same = routes.length === wanted.length && routes.every((route, i) => route === wanted[i]);
    if (same) return;
    this.isFirst = wanted.length === 0;
    this.wanted = routes;
    this.complete = false;
    this.refusal = undefined;
  }

  /**
   * Hands over what is wanted, or a part of it; of those that do not fit for now, since
   * indices that were given back still rest, as many as do. True if more can follow at once.
   */
  next(serve: Serve): boolean {
    if (this.complete) return false;
    const before = new Map(this.served?.map((route) => [route.name, route]));
    const changed = this.inTurn(this.wanted.filter((route) => before.get(route.name) !== route));
    const atOnce = this.atOnce(changed);
    const isFirst = this.isFirst;
    this.isFirst = false;
    if (isFirst && atOnce < changed.length) return true;
    for (let some = atOnce; some >= 0; some = some === 0 ? -1 : some >> 1) {
      const isWhole = some === changed.length;
      const fresh = new Set(changed.slice(0, some));
      const routes = isWhole
        ? this.wanted
        : this.wanted.flatMap((route): Route[] => {
            const old = before.get(route.name);
            if (old === route || fresh.has(route)) return [route];
            return old === undefined ? [] : [old];
          });
      if (!this.tryServing(routes, isWhole, serve)) continue;
      if (isWhole) this.hadTurn.clear();
      else for (const { name } of fresh) this.hadTurn.add(name);
      this.complete = isWhole;
      return !isWhole && some > 0;
    }
    return false;
  }

  /** Whoever had a turn comes after those who wait for one, however often it changes. */
  private inTurn(changed: readonly Route[]): readonly Route[] {
    const had = changed.filter(({ name }) => this.hadTurn.has(name));
    if (had.length < changed.length)
      return [...changed.filter(({ name }) => !this.hadTurn.has(name)), ...had];
    this.hadTurn.clear();
    return changed;
  }

  /** How many of these make one part. */
  private atOnce(changed: readonly Route[]): number {
    let left = this.backendsAtOnce;
    const rest = changed.findIndex(
      ({ backends }, i) => (left -= backends.length + routeAlone) < 0 && i > 0,
    );
    return rest < 0 ? changed.length : rest;
  }

  private tryServing(routes: RouteSet, isWhole: boolean, serve: Serve): boolean {
    try {
      serve(routes, isWhole);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      if (this.refusal !== error.message)
        this.log.warn(`${error.message} It is tried again. ${error.hint}`);
      this.refusal = error.message;
      return false;
    }
    this.served = routes;
    return true;
  }
}
