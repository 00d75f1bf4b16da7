// One trial: one peer in front of the backends, one fault, from the first
// request to the last answer.
import type { Outcome } from './client.js';
import { openPeer, type PeerName } from './peers.js';
import {
  badBackend,
  lengthMs,
  nowMs,
  scheduleOf,
  vipPort,
  type Breakage,
  type Fault,
} from './plan.js';
import type { Moves, SlotWatch } from './slots.js';
import { Undo } from '../undo.js';
import type { Stage } from './stage.js';
import {
  binMs,
  binShares,
  faultFigures,
  lateP99Ms,
  loadFigures,
  outcomesOf,
  type FaultFigures,
  type LoadFigures,
  type Span,
} from './timeline.js';

interface Every {
  readonly peer: PeerName;
  readonly round: number;
  readonly lateP99Ms: number;
  readonly outcomes: Readonly<Partial<Record<Outcome, number>>>;
  /** Connects that the peer made anew by itself; null for peers that never do. */
  readonly retries: number | null;
  /** What the agent moved: over a fault's whole trial, or over what is counted of a quiet one. */
  readonly moves: Moves | null;
}

export interface FaultTrial extends Every {
  readonly fault: Breakage;
  readonly figures: FaultFigures;
  /** The bad backend's share of requests in each 250 ms from 2 s before the fault. */
  readonly shares: readonly number[];
  /** Its share of slots at the end of each of them. */
  readonly slotShares: readonly number[] | null;
}

export interface QuietTrial extends Every {
  readonly fault: 'quiet';
  readonly figures: LoadFigures;
}

export type Trial = FaultTrial | QuietTrial;

export interface Choice {
  readonly peer: PeerName;
  readonly fault: Fault;
  readonly round: number;
  readonly quietMs: number;
}

export async function runTrial(stage: Stage, choice: Choice): Promise<Trial> {
  const { peer, fault, round, quietMs } = choice;
  const schedule = scheduleOf(fault, quietMs);
  const undo = new Undo();
  try {
    await stage.order({ kind: 'serve', noise: schedule.noise, seed: round });
    const service = await openPeer(peer, stage, undo);
    const target = { host: service.vip, port: vipPort };
    const load = await stage.load(service.cgroup, [target], lengthMs(schedule), undo);
    const beganMs = nowMs();
    service.slots?.start();
    await stage.pass(schedule.warmMs);
    const span =
      fault === 'quiet' ? undefined : await breakFor(stage, fault, schedule.faultMs, undo);
    const requests = await load();
    service.slots?.stop();
    service.requireAlive();
    const every = {
      peer,
      round,
      lateP99Ms: lateP99Ms(requests),
      outcomes: outcomesOf(requests),
      retries: (await service.retries?.()) ?? null,
    };
    if (fault === 'quiet' || span === undefined) {
      const fromMs = beganMs + schedule.warmMs;
      return {
        ...every,
        fault: 'quiet',
        figures: loadFigures(requests.filter(({ startMs }) => startMs >= fromMs)),
        moves: service.slots?.moves(fromMs, fromMs + schedule.faultMs) ?? null,
      };
    }
    const { fromMs, shares } = binShares(requests, span, schedule);
    return {
      ...every,
      fault,
      figures: faultFigures(requests, span),
      shares,
      slotShares: slotShares(service.slots, fromMs, shares.length),
      moves: service.slots?.moves(beganMs, beganMs + lengthMs(schedule)) ?? null,
    };
  } finally {
    await undo.run();
  }
}

function slotShares(slots: SlotWatch | undefined, fromMs: number, bins: number): number[] | null {
  return slots?.shares(badBackend, fromMs, bins, binMs) ?? null;
}

/** The times at which the backends obeyed, not those at which they were told. */
async function breakFor(stage: Stage, fault: Breakage, ms: number, undo: Undo): Promise<Span> {
  const heal = () => stage.order({ kind: 'behave', backend: badBackend, behaviour: 'normal' });
  // However the trial ends, the next one begins with ten backends that are well.
  undo.push(async () => {
    if (!stage.signal.aborted) await heal();
  });
  const faultFromMs = await stage.order({ kind: 'behave', backend: badBackend, behaviour: fault });
  await stage.pass(faultFromMs + ms - nowMs());
  return { faultFromMs, faultToMs: await heal() };
}
