// One run: a scenario, a policy and a seed, from the first arrival to the figures.
import { createHash } from 'node:crypto';

import type { Tick } from '../agent/agent.js';
import type { NodeView, MakeBalancer, PolicyName } from './balancer.js';
import { mostConnections } from './clients.js';
import { measureLimits, type Measured } from './limits.js';
import type { Phase, RunResult, Window } from './result.js';
import type { Plane } from '../dataplane/plane.js';
import { step, type Law } from '../field/step.js';
import { LivenessWatch } from './invariants/liveness.js';
import { RunWatch } from './invariants/run-watch.js';
import type { Scenario } from './scenario.js';
import { coarse, fineMs } from './shares.js';
import { BalancerFront, type Front } from './world/front.js';
import { NityFront } from './world/nity-front.js';
import { playScript } from './world/script.js';
import { SlotWatch, type Held } from './world/slot-watch.js';
import { World } from './world/world.js';
import { policies } from './policies/policies.js';

/** A run with its limits still to be settled beside others' of the same seed. */
export interface Run {
  readonly result: RunResult;
  readonly measures: readonly Measured[];
}

export interface Sabotage {
  /** Another law than the one that Nity ships. */
  readonly law?: Law;
  /** Hands in the maps, after each tick. */
  readonly maps?: (plane: Plane, nowMs: number) => void;
}

export interface RunOptions {
  readonly scenario: Scenario;
  readonly policy: PolicyName;
  readonly seed: number;
  /** Simulated time, as the run goes. */
  readonly onProgress?: (nowMs: number) => void;
  readonly onTick?: (node: number, nowMs: number, tick: Tick) => void;
  /** What is broken on purpose, to see that the watch over it names what breaks. */
  readonly sabotage?: Sabotage;
}

const firstPort = 1024;
/** Sockets that a node's model is made with: connections under way at once. */
const mostSockets = 1_048_576;

function connectionsOf({ clients, faults, duration }: Scenario): number {
  const load = faults.reduce(
    (most, fault) => (fault.kind === 'load' ? most * Math.max(1, fault.factor) : most),
    1,
  );
  const most = clients.reduce((sum, group) => sum + mostConnections(group, load, duration), 0);
  return Math.min(mostSockets, Math.ceil(3 * most + 4096));
}

class Simulation {
  readonly fine: Float64Array[];
  readonly watch: SlotWatch;
  readonly invariants = new RunWatch();
  readonly liveness: LivenessWatch;
  readonly ours: NityFront[] = [];
  readonly stopped = new Set<number>();
  readonly world: World;
  private readonly failsafe: { mode: 'hold' | 'fallback'; atMs: number }[] = [];

  constructor(private readonly options: RunOptions) {
    const { scenario, policy, seed } = options;
    const places = scenario.backends.reduce((sum, { count }) => sum + count, 0);
    this.fine = Array.from(
      { length: Math.ceil(scenario.duration / fineMs) + 1 },
      () => new Float64Array(places),
    );
    this.watch = new SlotWatch(places, (id) => this.placeOf(id));
    this.world = new World({
      scenario,
      seed,
      makeFront: (node, view): Front => {
        if (policy === 'nity' || policy === 'gear') return this.ourFront(node, places, view);
        const make: MakeBalancer = policies[policy].make;
        return new BalancerFront(Array.from({ length: scenario.services }, () => make(view)));
      },
      onPick: (nowMs, { place }) => {
        const window = this.fine[Math.floor(nowMs / fineMs)];
        if (window !== undefined) window[place] = (window[place] ?? 0) + 1;
      },
    });
    this.liveness = new LivenessWatch(
      scenario,
      (ms, look) => {
        this.world.at(ms, look);
      },
      () => (policy === 'nity' ? this.watch.held() : null),
    );
  }

  private placeOf(id: string): number {
    const number = Number(id.slice(id.indexOf(':') + 1)) - firstPort;
    return this.world.backends.endpoints[number]?.place ?? -1;
  }

  private ourFront(node: number, places: number, view: NodeView): NityFront {
    const { scenario, policy, onTick, sabotage } = this.options;
    const front = new NityFront({
      accepts: (endpoint) => view.accepts(endpoint),
      node,
      nodes: scenario.nodes,
      services: scenario.services,
      endpoints: places * scenario.services,
      connections: connectionsOf(scenario),
      knobs: scenario.knobs,
      judge: policy === 'nity' ? 'agent' : 'bare',
      law: sabotage?.law ?? step,
      onTick: (from, nowMs, tick, serving) => {
        sabotage?.maps?.(serving.plane, nowMs);
        this.watch.see(from, nowMs, tick);
        this.invariants.see(from, nowMs, tick, serving);
        onTick?.(from, nowMs, tick);
      },
    });
    this.ours.push(front);
    return front;
  }

  /** A tick of each node on its own part of the grid. */
  private startTicking(): void {
    const { tickMs } = this.options.scenario.knobs;
    this.ours.forEach((front, node) => {
      const tick = (): void => {
        if (!this.stopped.has(node)) front.tick(this.world.nowMs);
        this.world.at(this.world.nowMs + tickMs, tick);
      };
      front.tick(0);
      this.world.at(tickMs * (1 + node / this.ours.length), tick);
    });
  }

  /** Looked at twenty times a second, where the scenario asks for it. */
  private watchFailsafe(): void {
    const asked = this.options.scenario.limits.some(
      ({ measure }) => measure === 'hold' || measure === 'fallback',
    );
    const [front] = this.ours;
    if (!asked || front === undefined) return;
    const look = (): void => {
      const mode = front.failsafeMode(this.world.nowMs);
      const before = this.failsafe.at(-1)?.mode;
      if (mode !== 'normal' && mode !== before)
        this.failsafe.push({ mode, atMs: this.world.nowMs });
      this.world.at(this.world.nowMs + 50, look);
    };
    look();
  }

  run(): Run {
    const beganMs = performance.now();
    const { scenario, policy, seed, onProgress } = this.options;
    const { world } = this;
    const marks = playScript({
      scenario,
      world,
      seed,
      agents: this.ours,
      stopped: this.stopped,
    });
    this.startTicking();
    this.watchFailsafe();
    const ends: { atMs: number; held: Held | null }[] = [];
    for (let atMs = 0; atMs < scenario.duration;) {
      atMs = Math.min(scenario.duration, atMs + scenario.window);
      world.run(atMs);
      ends.push({ atMs, held: this.watch.held() });
      onProgress?.(atMs);
    }
    const measures = measureLimits({
      scenario,
      policy,
      ledger: world.ledger,
      fine: this.fine,
      churn: this.watch.churn,
      worstReversals: this.watch.worstReversals(),
      failsafeSince: (mode, afterMs) =>
        this.failsafe.find((seen) => seen.mode === mode && seen.atMs >= afterMs)?.atMs ?? null,
    });
    const limits = measures.map(({ outcome }) => outcome);
    const invariants = this.invariants.verdicts(
      world.connects,
      world.nowMs,
      this.liveness.verdict(),
    );
    const result: RunResult = {
      scenario: scenario.name,
      policy,
      seed,
      durationMs: scenario.duration,
      backends: world.backends.places.map(({ name }) => name),
      total: world.ledger.traffic(0, scenario.duration),
      connects: world.connects,
      phases: this.phases(),
      series: this.series(ends),
      marks,
      limits,
      invariants,
      digest: createHash('sha256').update(world.ledger.digest()).digest('hex'),
      pass:
        limits.every(({ binding, pass }) => pass || !binding) &&
        invariants.every(({ pass }) => pass),
      wallMs: performance.now() - beganMs,
    };
    return { result, measures };
  }

  private phases(): Phase[] {
    return Object.entries(this.options.scenario.phases).map(([name, { from, to }]) => ({
      ...this.world.ledger.traffic(from, to),
      name,
      fromMs: from,
      toMs: to,
    }));
  }

  private series(ends: readonly { atMs: number; held: Held | null }[]): Window[] {
    return ends.map(({ atMs, held }, i) => {
      const fromMs = ends[i - 1]?.atMs ?? 0;
      return {
        ...this.world.ledger.traffic(fromMs, atMs),
        fromMs,
        toMs: atMs,
        picks: coarse(this.fine, fromMs, atMs),
        slots: held?.slots ?? null,
        admissionMode: held?.admissionMode ?? null,
        regime: held?.regime ?? null,
      };
    });
  }
}

export function simulate(options: RunOptions): Run {
  return new Simulation(options).run();
}
