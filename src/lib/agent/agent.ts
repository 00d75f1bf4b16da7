// The agent's loop: on each tick a heartbeat, the signals, one step of the law,
// and the projection of its field. It knows no terminal and no file.
import type { Knobs } from '../config/knobs.js';
import { thresholds } from '../dataplane/initialise.js';
import type { Plane } from '../dataplane/plane.js';
import { Projector, type ProjectionOutcome } from '../dataplane/projector.js';
import { assignRing } from '../field/ring.js';
import { step } from '../field/step.js';
import type { FieldState, Reason, RouteField } from '../field/types.js';
import type { RouteSet } from '../routes/route-set.js';
import { KernelCounters } from '../sensors/kernel-counters.js';

export interface Tick {
  readonly sequence: number;
  readonly outcome: ProjectionOutcome | { readonly kind: 'held' | 'busy' | 'late' };
  readonly field: readonly RouteField[];
  readonly reasons: readonly Reason[];
}

/** Runs `change` as the only one who changes the field, or returns undefined if another does. */
export type Exclusively = <T>(change: () => T) => T | undefined;

export class Agent {
  readonly projector: Projector;
  private readonly counters: KernelCounters;
  private state: FieldState = new Map();
  private sequence = 0;
  private lastNs: bigint;

  constructor(
    private readonly plane: Plane,
    private knobs: Knobs,
    private readonly exclusively: Exclusively,
  ) {
    this.projector = new Projector(plane, {
      slotsPerRoute: knobs.slotsPerRoute,
      defaultGear: 'twin',
    });
    this.counters = new KernelCounters(plane);
    this.lastNs = plane.nowNs();
    plane.fieldState.write(0, thresholds(knobs));
    plane.fieldState.write(0, { agentPid: process.pid, agentStartedNs: this.lastNs });
  }

  /** What is to be served from now on; throws, and changes nothing, if it does not fit. */
  serve(routes: RouteSet): void {
    this.projector.reconcile(routes);
    this.counters.keepOnly(new Set(this.backendIndexes()));
  }

  /** The indices of all backends that are served. */
  backendIndexes(): number[] {
    return [...this.projector.book.routes.values()].flatMap(({ backends }) =>
      [...backends.values()].map(({ index }) => index),
    );
  }

  /** One tick of the control loop. */
  tick(): Tick {
    const startNs = this.plane.nowNs();
    const dtMs = Number(startNs - this.lastNs) / 1e6;
    this.lastNs = startNs;
    this.sequence++;
    // Slots that another's flip brought back are the current ones of this tick already.
    this.projector.follow();

    const served = [...this.projector.book.routes.values()].filter(({ removed }) => !removed);
    const rings = served.map((entry) => this.projector.ring(entry));
    const routes = served.map((entry, i) => this.counters.route(entry, rings[i] ?? entry.owners));
    const { state, field, reasons } = step(this.state, { dtMs, routes }, this.knobs);
    this.state = state;

    const base = { sequence: this.sequence, field, reasons };
    // A heartbeat belongs to every tick, whatever becomes of its field.
    if (this.plane.word('projectionHeldUntilNs') > startNs) {
      this.projector.heartbeat();
      return { ...base, outcome: { kind: 'held' }, reasons: [] };
    }
    // Computed before a long pause (SIGSTOP, a starved CPU), a field is about the past.
    if (Number(this.plane.nowNs() - startNs) / 1e6 > this.knobs.tickMs) {
      this.projector.heartbeat();
      return { ...base, outcome: { kind: 'late' }, reasons: [] };
    }
    served.forEach((entry, i) => {
      const counts = new Map<number, number>();
      for (const { id, slots, state: judged } of field[i]?.backends ?? []) {
        const index = entry.backends.get(id)?.index;
        if (index === undefined) continue;
        counts.set(index, slots);
        this.projector.setBackendState(index, judged);
      }
      const ring = rings[i] ?? entry.owners;
      this.projector.setOwners(entry, ring.length === 0 ? ring : assignRing(ring, counts));
    });
    const outcome = this.exclusively(() => this.projector.project());
    if (outcome === undefined) this.projector.heartbeat();
    return { ...base, outcome: outcome ?? { kind: 'busy' } };
  }

  /** The last words: a heartbeat over a coherent field, so that HOLD begins from now. */
  stop(): void {
    this.projector.heartbeat();
    this.plane.fieldState.write(0, { agentPid: 0 });
  }
}
