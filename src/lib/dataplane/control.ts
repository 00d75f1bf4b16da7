// A route's valve: the agent's admission mode, and the operator's override that
// stands above it until it expires in the kernel, agent alive or dead.
import { AdmissionMode, Regime } from './abi.js';
import { tableOf, type Plane } from './plane.js';

export type AdmissionModeName = keyof typeof AdmissionMode;
export type FailsafeModeName = 'normal' | 'hold' | 'fallback';

const modeNames = Object.keys(AdmissionMode) as AdmissionModeName[];

export function admissionModeName(code: number): AdmissionModeName {
  return modeNames.find((name) => AdmissionMode[name] === code) ?? 'normal';
}

export type RegimeName = Exclude<keyof typeof Regime, 'none'>;

const regimeNames = Object.keys(Regime) as (keyof typeof Regime)[];

/** Null where no agent has judged it. */
export function regimeName(code: number): RegimeName | null {
  const name = regimeNames.find((known) => Regime[known] === code);
  return name === undefined || name === 'none' ? null : name;
}

/** Of a hundred connects, those that the kernel enforces: a word of more than a hundred enforces none. */
export function enforcedPercentOf(observedPercent: number): number {
  return Math.max(0, 100 - observedPercent);
}

/** Tokens a second, and how many may be saved up. */
export interface Budget {
  readonly ratePerSecond: number;
  readonly burst: number;
}

export interface Override {
  readonly mode: AdmissionModeName;
  readonly expiresNs: bigint;
  /** The operator's own budget; without it the agent's is used. */
  readonly budget?: Budget;
}

const nsPerSecond = 1e9;

/** GCRA's form of a budget: the interval between tokens, and the burst as a time. */
export function budgetWords({ ratePerSecond, burst }: Budget): {
  tokenNs: bigint;
  burstNs: bigint;
} {
  const tokenNs = BigInt(Math.max(1, Math.round(nsPerSecond / ratePerSecond)));
  return { tokenNs, burstNs: tokenNs * BigInt(Math.max(1, Math.round(burst))) };
}

export function budgetOf(tokenNs: bigint, burstNs: bigint): Budget | undefined {
  if (tokenNs === 0n) return undefined;
  return { ratePerSecond: nsPerSecond / Number(tokenNs), burst: Number(burstNs / tokenNs) };
}

/** The override in force at `nowNs`, if any. */
export function readOverride(plane: Plane, route: number, nowNs: bigint): Override | undefined {
  const control = plane.rtControl.read(route);
  const expiresNs = control.overrideWord & ~3n;
  if (expiresNs <= nowNs) return undefined;
  const mode = admissionModeName(Number(control.overrideWord & 3n));
  const budget = budgetOf(control.overrideTokenNs, control.overrideBurstNs);
  return { mode, expiresNs, ...(budget === undefined ? {} : { budget }) };
}

/** The budget is written before the word that makes it count. */
export function writeOverride(plane: Plane, route: number, override: Override): void {
  const words =
    override.budget === undefined ? { tokenNs: 0n, burstNs: 0n } : budgetWords(override.budget);
  plane.rtControl.write(route, {
    overrideTokenNs: words.tokenNs,
    overrideBurstNs: words.burstNs,
  });
  plane.rtControl.write(route, {
    overrideWord: (override.expiresNs & ~3n) | BigInt(AdmissionMode[override.mode]),
  });
}

/** `auto`: control goes back to the agent. */
export function clearOverride(plane: Plane, route: number): void {
  plane.rtControl.write(route, { overrideWord: 0n });
}

export interface FieldStatus {
  readonly epoch: bigint;
  readonly heldEpoch: bigint;
  readonly activeTable: 'A' | 'B';
  /** Null when no agent has ever been seen. */
  readonly heartbeatAgeMs: number | null;
  readonly failsafeMode: FailsafeModeName;
  readonly tableEpochs: readonly [bigint, bigint];
  readonly projectionHeldMs: number;
  readonly agentPid: number | null;
  readonly regime: number;
}

const nsPerMs = 1_000_000n;

/** The field as the kernel would judge it now. */
export function readField(plane: Plane): FieldStatus {
  const state = plane.fieldState.read(0);
  const nowNs = plane.nowNs();
  const ageNs = nowNs > state.lastAgentSeenNs ? nowNs - state.lastAgentSeenNs : 0n;
  const failsafeMode =
    ageNs < state.holdAfterNs ? 'normal' : ageNs < state.fallbackAfterNs ? 'hold' : 'fallback';
  // The kernel decides by the held epoch as soon as the heartbeat is stale.
  const inForce = failsafeMode === 'normal' ? state.epoch : state.heldEpoch;
  return {
    epoch: state.epoch,
    heldEpoch: state.heldEpoch,
    activeTable: tableOf(inForce) === 0 ? 'A' : 'B',
    heartbeatAgeMs: state.lastAgentSeenNs === 0n ? null : Number(ageNs / nsPerMs),
    failsafeMode,
    tableEpochs: [plane.tableEpoch(0), plane.tableEpoch(1)],
    projectionHeldMs:
      state.projectionHeldUntilNs > nowNs
        ? Number((state.projectionHeldUntilNs - nowNs) / nsPerMs)
        : 0,
    agentPid: state.agentPid === 0 ? null : state.agentPid,
    regime: state.regime,
  };
}
