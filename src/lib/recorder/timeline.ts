// A route's history in a bounded number of columns, however long the trace: when they
// are full, each two become one. Durations and moves are counted beside, exactly.
import { admissionModes, regimes, type AdmissionMode, type Regime } from '../field/states.js';
import type { RouteField, RouteSignals } from '../field/types.js';
import type { RouteOutput } from './reader.js';

/** What a tick says of a route, recorded or recomputed. */
export interface RouteLook {
  readonly name: string;
  /** Of its table. */
  readonly slots: number;
  readonly backends: readonly { readonly id: string; readonly slots: number }[];
  /** The operator's, while it stands above the agent's. */
  readonly mode: AdmissionMode;
  readonly regime: Regime;
}

export interface Column {
  /** The gravest in it. */
  mode: AdmissionMode;
  regime: Regime;
  /** Mean shares, by backend; whoever is not there was not served. */
  readonly shares: ReadonlyMap<string, number>;
  ticks: number;
}

export interface RouteHistory {
  readonly name: string;
  slots: number;
  /** In the order in which they came. */
  readonly backends: readonly string[];
  /** Undefined where there was no tick. */
  readonly columns: readonly (Column | undefined)[];
  readonly modesMs: ReadonlyMap<AdmissionMode, number>;
  readonly regimesMs: ReadonlyMap<Regime, number>;
  /** Slots that went to another backend, and in how many ticks some did. */
  readonly slotsMoved: number;
  readonly ticksMoved: number;
}

interface Filling extends Column {
  /** Sums, until they are asked for. */
  readonly shares: Map<string, number>;
}

class Route implements RouteHistory {
  slots = 0;
  readonly seen = new Map<string, number>();
  filling: (Filling | undefined)[] = [];
  readonly modesMs = new Map<AdmissionMode, number>();
  readonly regimesMs = new Map<Regime, number>();
  slotsMoved = 0;
  ticksMoved = 0;

  constructor(readonly name: string) {}

  get backends(): readonly string[] {
    return [...this.seen.keys()];
  }

  get columns(): readonly (Column | undefined)[] {
    return Array.from(this.filling, (column) =>
      column === undefined
        ? undefined
        : {
            ...column,
            shares: new Map([...column.shares].map(([id, sum]) => [id, sum / column.ticks])),
          },
    );
  }

  see({ slots, backends, mode, regime }: RouteLook, at: number, dtMs: number): void {
    this.slots = slots;
    this.modesMs.set(mode, (this.modesMs.get(mode) ?? 0) + dtMs);
    this.regimesMs.set(regime, (this.regimesMs.get(regime) ?? 0) + dtMs);
    const column = this.filling[at] ?? {
      mode,
      regime,
      shares: new Map<string, number>(),
      ticks: 0,
    };
    this.filling[at] = column;
    column.mode = graver(admissionModes, column.mode, mode);
    column.regime = graver(regimes, column.regime, regime);
    column.ticks++;
    let moved = 0;
    for (const { id, slots: owned } of backends) {
      const share = slots === 0 ? 0 : owned / slots;
      column.shares.set(id, (column.shares.get(id) ?? 0) + share);
      moved += Math.max(0, owned - (this.seen.get(id) ?? owned));
      this.seen.set(id, owned);
    }
    this.slotsMoved += moved;
    if (moved > 0) this.ticksMoved++;
  }

  halve(): void {
    const before = this.filling;
    this.filling = [];
    before.forEach((column, i) => {
      if (column === undefined) return;
      const into = this.filling[i >> 1];
      if (into === undefined) this.filling[i >> 1] = column;
      else join(into, column);
    });
  }
}

function join(into: Filling, column: Filling): void {
  into.mode = graver(admissionModes, into.mode, column.mode);
  into.regime = graver(regimes, into.regime, column.regime);
  into.ticks += column.ticks;
  for (const [id, sum] of column.shares) into.shares.set(id, (into.shares.get(id) ?? 0) + sum);
}

function graver<W>(words: readonly W[], a: W, b: W): W {
  return words.indexOf(b) > words.indexOf(a) ? b : a;
}

export class Timeline {
  /** Time that a column stands for. */
  columnMs: number;
  /** Columns so far. */
  width = 0;
  private startMs: number | undefined;
  private readonly byName = new Map<string, Route>();

  constructor(
    private readonly columnsMost = 80,
    firstColumnMs = 200,
  ) {
    this.columnMs = firstColumnMs;
  }

  get routes(): readonly RouteHistory[] {
    return [...this.byName.values()];
  }

  see(looks: readonly RouteLook[], atMs: number, dtMs: number): void {
    this.startMs ??= atMs;
    let at = Math.floor((atMs - this.startMs) / this.columnMs);
    while (at >= this.columnsMost) {
      for (const route of this.byName.values()) route.halve();
      this.columnMs *= 2;
      at >>= 1;
    }
    this.width = at + 1;
    for (const look of looks) {
      let route = this.byName.get(look.name);
      if (route === undefined) this.byName.set(look.name, (route = new Route(look.name)));
      route.see(look, at, dtMs);
    }
  }
}

export function lookOf(field: RouteField, { override }: RouteSignals): RouteLook {
  const { name, slots, backends, regime, valve } = field;
  return { name, slots, backends, mode: override ?? valve.mode, regime };
}

export function recordedLook(signals: RouteSignals, output: RouteOutput): RouteLook {
  const { name, slots, override } = signals;
  const backends = signals.backends.map(({ id }, i) => ({ id, slots: output.slots[i] ?? 0 }));
  return { name, slots, backends, mode: override ?? output.mode, regime: output.regime };
}
