// The demo's story and its counted facts: a refusal, a slowdown, a recovery, an
// agent killed, and a new one.
import type { FailsafeModeName } from '../dataplane/control.js';
import type { Behaviour, Connect, Now, Stage } from './stage.js';

export interface Phase {
  readonly name: string;
  readonly narration: string;
  readonly durationMs: number;
  readonly begin?: (stage: Stage) => Promise<void>;
  /** The backend that the phase is about, and where its share should go. */
  readonly subject?: { readonly backend: number; readonly towards: 'away' | 'back' };
  /** No connect may fail in it. */
  readonly mustServeAll: boolean;
}

export interface PhaseFacts {
  readonly name: string;
  readonly connects: number;
  readonly failed: number;
  /** Answered by someone who is no backend of the route. */
  readonly misrouted: number;
  readonly perBackend: Readonly<Record<string, number>>;
  /** Until the subject's share had halved, or had come back to 80 % of fair; null if it did not. */
  readonly shiftMs: number | null;
  /** When each failsafe mode was first seen, in milliseconds since the phase began. */
  readonly failsafeMs: Readonly<Partial<Record<FailsafeModeName, number>>>;
  readonly ok: boolean;
}

export interface Frame {
  readonly phase: Phase;
  readonly now: Now;
  readonly elapsedMs: number;
  /** Connects of the last second. */
  readonly recent: readonly Connect[];
}

const frameMs = 200;
/** Shares are judged over this long: at 240 connects a second, 40 for each of six backends. */
const windowMs = 1000;
const sick = 2;

const behave = (behaviour: Behaviour) => (stage: Stage) => stage.behave(sick, behaviour);

export function story(stage: Stage, fast: boolean, tau2Ms: number): Phase[] {
  const name = stage.names[sick] ?? '';
  const scale = fast ? 1 : 2;
  return [
    {
      name: 'steady',
      narration: 'Six healthy backends share the load.',
      durationMs: 3000 * scale,
      mustServeAll: true,
    },
    {
      name: 'refuse',
      narration: `${name} refuses connections: the kernel suspects it at once, the agent isolates it.`,
      durationMs: 4000 * scale,
      begin: behave('refusing'),
      subject: { backend: sick, towards: 'away' },
      mustServeAll: false,
    },
    {
      name: 'return',
      narration: `${name} listens again: one probe finds out, then its slots flow back.`,
      durationMs: 8000 * scale,
      begin: behave('healthy'),
      subject: { backend: sick, towards: 'back' },
      mustServeAll: true,
    },
    {
      name: 'slow',
      narration: `${name} answers ten times slower: its pressure rises, its slots drain away.`,
      durationMs: 6000 * scale,
      begin: behave('slow'),
      subject: { backend: sick, towards: 'away' },
      mustServeAll: true,
    },
    {
      name: 'recovery',
      narration: `${name} is quick again and is trusted again, step by step.`,
      durationMs: 9000 * scale,
      begin: behave('healthy'),
      subject: { backend: sick, towards: 'back' },
      mustServeAll: true,
    },
    {
      name: 'agent killed',
      narration: 'The agent dies by SIGKILL: the kernel holds the field, then falls back.',
      durationMs: tau2Ms + 2000,
      begin: (on) => on.killAgent(),
      mustServeAll: true,
    },
    {
      name: 'new agent',
      narration: 'A new agent takes over the field as it finds it.',
      durationMs: 3000 * scale,
      begin: (on) => on.startAgent(),
      mustServeAll: true,
    },
  ];
}

function shareOf(connects: readonly Connect[], name: string): number {
  if (connects.length === 0) return 0;
  return connects.filter(({ answer }) => answer === name).length / connects.length;
}

/** Watches one phase and counts. */
class Witness {
  private readonly connects: Connect[] = [];
  private readonly failsafeMs: Partial<Record<FailsafeModeName, number>> = {};
  private shiftMs: number | null = null;

  constructor(
    private readonly phase: Phase,
    private readonly names: readonly string[],
    private readonly beganMs: number,
  ) {}

  see(connects: readonly Connect[], now: Now): void {
    this.connects.push(...connects);
    const elapsedMs = Math.round(now.atMs - this.beganMs);
    this.failsafeMs[now.failsafeMode] ??= elapsedMs;
    const recent = this.connects.filter(({ atMs }) => atMs > now.atMs - windowMs);
    const { subject } = this.phase;
    if (subject !== undefined && this.shiftMs === null && elapsedMs >= frameMs) {
      const share = shareOf(recent, this.names[subject.backend] ?? '') * this.names.length;
      if (subject.towards === 'away' ? share < 0.5 : share >= 0.8) this.shiftMs = elapsedMs;
    }
  }

  facts(): PhaseFacts {
    const { name, mustServeAll, subject } = this.phase;
    const perBackend = Object.fromEntries(
      this.names.map((backend) => [
        backend,
        this.connects.filter(({ answer }) => answer === backend).length,
      ]),
    );
    const failed = this.connects.filter(({ answer }) => answer === null).length;
    const answered = Object.values(perBackend).reduce((a, b) => a + b, 0);
    const misrouted = this.connects.length - failed - answered;
    const shifted = subject === undefined || this.shiftMs !== null;
    return {
      name,
      connects: this.connects.length,
      failed,
      misrouted,
      perBackend,
      shiftMs: this.shiftMs,
      failsafeMs: this.failsafeMs,
      ok: misrouted === 0 && shifted && answered > 0 && (!mustServeAll || failed === 0),
    };
  }
}

/** A signal changes while a phase waits, which a type checker cannot see. */
function stopped(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Plays the story to its end, or until `signal` is aborted. */
export async function play(
  stage: Stage,
  phases: readonly Phase[],
  signal: AbortSignal,
  onFrame: (frame: Frame) => void,
  onPhase: (facts: PhaseFacts) => void,
): Promise<PhaseFacts[]> {
  const facts: PhaseFacts[] = [];
  let recent: Connect[] = [];
  for (const phase of phases) {
    if (stopped(signal)) break;
    const beganMs = stage.now().atMs;
    await phase.begin?.(stage);
    const witness = new Witness(phase, stage.names, beganMs);
    for (let elapsedMs = 0; elapsedMs < phase.durationMs && !stopped(signal);) {
      const connects = await stage.pass(frameMs);
      const now = stage.now();
      elapsedMs = now.atMs - beganMs;
      witness.see(connects, now);
      recent = [...recent, ...connects].filter(({ atMs }) => atMs > now.atMs - windowMs);
      onFrame({ phase, now, elapsedMs, recent });
    }
    const found = witness.facts();
    facts.push(found);
    onPhase(found);
  }
  return facts;
}
