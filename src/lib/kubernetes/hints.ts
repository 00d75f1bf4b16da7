// Scale hints: that a Service could do with more replicas, because all that is left to its
// law is to refuse. Pure; who is told, and how, is events.ts.
import type { RouteField } from '../field/types.js';
import { serviceOf } from '../routes/route-set.js';

/** What a route suffers from, that more replicas would ease. */
export type HintKind = 'monopoly' | 'hard' | 'soft' | 'capacity';

export interface Hint {
  /** namespace/name. */
  readonly service: string;
  readonly route: string;
  readonly kind: HintKind;
  readonly sinceMs: number;
  /** What it is about, for a person. */
  readonly words: string;
}

/** A route that comes and goes is told of once in so long. */
const silentMs = 600_000;

function kindOf({ scaleHint, valve }: RouteField): HintKind | null {
  if (scaleHint === 'monopoly') return scaleHint;
  if (valve.mode !== 'normal') return valve.mode;
  return scaleHint === 'capacity' ? scaleHint : null;
}

function wordsOf(kind: HintKind, { name, backends, valve }: RouteField): string {
  const good = valve.goodputPerSecond;
  const flow =
    good === null
      ? 'its goodput is not known yet'
      : `it answers ${good.toFixed(0)} connects a second`;
  switch (kind) {
    case 'monopoly':
      return `${name} is under pressure and has one backend, so that no traffic can be moved; ${flow}.`;
    case 'soft':
      return `${name} admits what its ${backends.length} backends can answer and refuses the rest; ${flow}.`;
    case 'hard':
      return `${name} refuses all new connections; ${flow}.`;
    case 'capacity':
      return `The ${backends.length} backends of ${name} answer late and less than they are asked; ${flow}.`;
  }
}

export class ScaleHints {
  private readonly standing = new Map<string, Hint>();
  private readonly told = new Map<string, number>();

  /** The hints that stand now. */
  get current(): readonly Hint[] {
    return [...this.standing.values()];
  }

  /** Takes a tick's field; returns what has to be told of it. */
  see(routes: readonly RouteField[], nowMs: number): Hint[] {
    const fresh: Hint[] = [];
    const seen = new Set<string>();
    for (const route of routes) {
      const kind = kindOf(route);
      if (kind === null) continue;
      seen.add(route.name);
      const known = this.standing.get(route.name);
      if (known?.kind === kind) continue;
      const hint = {
        service: serviceOf(route.name),
        route: route.name,
        kind,
        sinceMs: known?.sinceMs ?? nowMs,
        words: wordsOf(kind, route),
      };
      this.standing.set(route.name, hint);
      const subject = `${route.name} ${kind}`;
      if (nowMs - (this.told.get(subject) ?? -Infinity) < silentMs) continue;
      this.told.set(subject, nowMs);
      fresh.push(hint);
    }
    for (const name of this.standing.keys()) if (!seen.has(name)) this.standing.delete(name);
    for (const [subject, ms] of this.told) if (nowMs - ms >= silentMs) this.told.delete(subject);
    return fresh;
  }
}
