// Every invariant of a simulated run, over all of its nodes.
import type { Tick } from '../../agent/agent.js';
import type { Plane } from '../../dataplane/plane.js';
import type { TickView, Verdict } from '../invariant.js';
import type { Serving } from '../world/nity-front.js';
import { accounting } from './accounting.js';
import { InvariantMonitor } from './monitor.js';
import { TablesWatch } from './tables.js';

interface NodeWatch {
  readonly plane: Plane;
  readonly law: InvariantMonitor;
  readonly tables: TablesWatch;
}

/** The same invariant, seen in several places. */
function joined(verdicts: readonly Verdict[]): Verdict[] {
  const byName = new Map<string, Verdict>();
  for (const next of verdicts) {
    const known = byName.get(next.name);
    byName.set(next.name, known === undefined ? next : join(known, next));
  }
  return [...byName.values()];
}

function join(one: Verdict, other: Verdict): Verdict {
  const excess = ({ worst, limit }: Verdict) => (worst ?? -Infinity) - limit;
  const worse = excess(other) > excess(one) ? other : one;
  const firsts = [one.first, other.first].filter((first) => first !== null);
  const first = firsts.sort((a, b) => a.atMs - b.atMs)[0] ?? null;
  return { ...worse, pass: first === null, checks: one.checks + other.checks, first };
}

export class RunWatch {
  private readonly nodes = new Map<number, NodeWatch>();

  see(node: number, nowMs: number, tick: Tick, { plane, entries }: Serving): void {
    const known = this.nodes.get(node);
    const watch = known ?? { plane, law: new InvariantMonitor(), tables: new TablesWatch(plane) };
    if (known === undefined) this.nodes.set(node, watch);
    const view: TickView = { ...tick, atMs: nowMs };
    watch.law.see(view);
    watch.tables.see(tick, nowMs, entries);
  }

  /** `dialled` connects were made by the end, at `atMs`; the liveness was watched elsewhere. */
  verdicts(dialled: number, atMs: number, liveness: Verdict): Verdict[] {
    const nodes = [...this.nodes.values()];
    if (nodes.length === 0) return [];
    const planes = nodes.map(({ plane }) => plane);
    return joined([
      ...nodes.flatMap(({ law, tables }) => [...law.verdicts(), ...tables.verdicts()]),
      liveness,
      accounting(planes, dialled, { sequence: 0, atMs }),
    ]);
  }
}
