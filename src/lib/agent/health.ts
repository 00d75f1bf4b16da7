// What the agent tells whoever keeps it running: has it started, is it alive, is the node fit
// to be served. It goes by ticks that it is shown, and knows no clock and no server.
import type { Knobs } from '../config/knobs.js';
import type { Tick } from './agent.js';

/** A field that cannot be projected for so long will not be, by this agent: another is to begin anew. */
const unprojectedMsMax = 10_000;

export type Probe = 'startup' | 'liveness' | 'readiness';

export interface Answer {
  readonly ok: boolean;
  /** Why not; empty when it is. */
  readonly why: readonly string[];
  readonly numbers: Readonly<Record<string, number | string | null>>;
}

/** The node must be left alone while it is exhausted or stalls, and for recoverMs after. */
interface Sovereignty {
  readonly leftAlone: boolean;
  /** Since anything last spoke against it; null: nothing ever did. */
  readonly calmSinceMs: number | null;
}

export class Health {
  private last: { readonly tick: Tick; readonly atMs: number } | undefined;
  /** Since when no field could be projected; undefined: one was, or was not to be. */
  private unsafeSinceMs: number | undefined;
  private ticks = 0;
  private started = false;
  private routesKnown = false;
  private sovereignty: Sovereignty = { leftAlone: false, calmSinceMs: null };

  constructor(
    private readonly bornMs: number,
    private knobs: Knobs,
  ) {}

  /** `routesKnown`: the source of routes has said all of them at least once. */
  see(tick: Tick, atMs: number, routesKnown: boolean): void {
    this.knobs = tick.knobs;
    this.last = { tick, atMs };
    this.ticks++;
    this.routesKnown ||= routesKnown;
    const { kind } = tick.outcome;
    // From then on the kernel goes by this agent's field.
    const projected = kind === 'projected' || kind === 'unchanged' || kind === 'followed';
    this.started ||= this.routesKnown && projected;
    if (kind === 'unsafe') this.unsafeSinceMs ??= atMs;
    // An operator's command in between, or a late tick, says nothing of the field.
    else if (projected || kind === 'held') this.unsafeSinceMs = undefined;
    this.sovereignty = judge(this.sovereignty, tick, atMs);
  }

  ask(probe: Probe, nowMs: number): Answer {
    const why = this.complaints(probe, nowMs);
    return { ok: why.length === 0, why, numbers: this.numbers(nowMs) };
  }

  private complaints(probe: Probe, nowMs: number): string[] {
    const { knobs } = this;
    const ageMs = nowMs - (this.last?.atMs ?? this.bornMs);
    const stuck = (limitMs: number) =>
      ageMs > limitMs ? [`no tick for ${Math.round(ageMs)} ms; the limit is ${limitMs} ms`] : [];
    switch (probe) {
      case 'startup':
        if (this.started) return [];
        return [this.routesKnown ? 'no field is projected yet' : 'the routes are not known yet'];
      case 'liveness':
        return [
          // By then the kernel has fallen back, so that nothing is lost by a restart.
          ...stuck(knobs.tau2Ms),
          ...this.unprojected(nowMs),
        ];
      case 'readiness':
        return [
          ...(this.started ? [] : ['it has not started']),
          // By then the kernel holds the field.
          ...stuck(knobs.tau1Ms),
          ...this.unsafe(),
          ...(this.sovereignty.leftAlone ? [this.strain(nowMs)] : []),
        ];
    }
  }

  private unsafe(): string[] {
    const outcome = this.last?.tick.outcome;
    return outcome?.kind === 'unsafe' ? [`the field is not projected: ${outcome.why}`] : [];
  }

  private unprojected(nowMs: number): string[] {
    const forMs = nowMs - (this.unsafeSinceMs ?? nowMs);
    if (forMs < unprojectedMsMax) return [];
    return [`no field could be projected for ${Math.round(forMs)} ms`, ...this.unsafe()];
  }

  private strain(nowMs: number): string {
    const { calmSinceMs } = this.sovereignty;
    const node = this.last?.tick.field.node;
    if (calmSinceMs !== null) {
      const calmMs = Math.round(nowMs - calmSinceMs);
      return `the node is calm for ${calmMs} ms, of ${this.knobs.recoverMs} ms that it needs`;
    }
    const { exhaustion, stalledTicks = 0 } = node ?? {};
    if (exhaustion && exhaustion.ttfMs < this.knobs.ttfSafeMs) {
      return `${exhaustion.resource} is exhausted in ${Math.round(exhaustion.ttfMs)} ms`;
    }
    return `the node stalled in ${stalledTicks} of ${this.knobs.stallSamples} ticks`;
  }

  private numbers(nowMs: number): Answer['numbers'] {
    const { knobs, last, sovereignty } = this;
    const node = last?.tick.field.node;
    const { calmSinceMs } = sovereignty;
    return {
      ticks: this.ticks,
      tickAgeMs: last === undefined ? null : Math.round(nowMs - last.atMs),
      readyTickAgeMsMax: knobs.tau1Ms,
      liveTickAgeMsMax: knobs.tau2Ms,
      unprojectedMs:
        this.unsafeSinceMs === undefined ? null : Math.round(nowMs - this.unsafeSinceMs),
      unprojectedMsMax,
      scarcestResource: node?.exhaustion?.resource ?? null,
      ttfMs: node?.exhaustion?.ttfMs ?? null,
      ttfHardMs: knobs.ttfHardMs,
      ttfSafeMs: knobs.ttfSafeMs,
      stalledTicks: node?.stalledTicks ?? null,
      stallSustained: knobs.stallSustained,
      calmMs: calmSinceMs === null ? null : Math.round(nowMs - calmSinceMs),
      recoverMs: knobs.recoverMs,
    };
  }
}

/**
 * Left alone at the hard threshold; back only beyond the safe one, with half the stalls that
 * began it, for as long as a valve needs to open: at one threshold it would flap.
 */
function judge(before: Sovereignty, { field: { node }, knobs }: Tick, atMs: number): Sovereignty {
  const ttfMs = node.exhaustion?.ttfMs ?? Infinity;
  const sustained = Math.min(knobs.stallSustained, knobs.stallSamples);
  if (ttfMs < knobs.ttfHardMs || node.stalledTicks >= sustained) {
    return { leftAlone: true, calmSinceMs: null };
  }
  if (!before.leftAlone) return before;
  if (ttfMs < knobs.ttfSafeMs || node.stalledTicks > sustained / 2) {
    return { leftAlone: true, calmSinceMs: null };
  }
  const calmSinceMs = before.calmSinceMs ?? atMs;
  return { leftAlone: atMs - calmSinceMs < knobs.recoverMs, calmSinceMs };
}
