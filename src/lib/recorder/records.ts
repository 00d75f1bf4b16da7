// The payloads of a trace's records, and what the header says of who wrote it.
import type { NodeMemory } from '../field/types.js';
import type { Knobs } from '../config/knobs.js';
import type { Reason } from '../field/reasons.js';
import {
  bytes,
  flag,
  later,
  list,
  nullable,
  number,
  raw,
  record,
  text,
  type Columns,
} from './shape.js';
import {
  backendSignals,
  knobs,
  nodeField,
  nodeMemory,
  nodeOutput,
  nodeSignals,
  outcome,
  reasons,
  routeField,
  routeMemory,
  routeOutput,
  routeSignals,
  type OutcomeKind,
} from './shapes.js';

/** Who records, and on what. */
export interface TraceAbout {
  /** Nity's version, its law's, and a digest of the law's own code: git is not at hand where it runs. */
  readonly nity: string;
  readonly law: number;
  readonly build: string;
  readonly node: string;
  readonly kernel: string;
  readonly host: string;
  readonly phase: number;
  /** Tells one run of an agent, or of a simulation, from another. */
  readonly run: string;
}

export interface TraceHeader extends TraceAbout {
  /** The wall clock when the file was begun, to set beside the frame's monotonic one. */
  readonly wallMs: number;
  readonly columns: Readonly<Record<string, readonly string[]>>;
}

interface TickPayload {
  readonly dtMs: number;
  readonly held: boolean;
  /** Null while they are the same object as in the tick before. */
  readonly knobs: Knobs | null;
  readonly outcome: OutcomeKind;
  /** What changed of the node's signals. */
  readonly node: unknown;
  /** Names of the routes, in their order; null while they are the same. */
  readonly names: readonly string[] | null;
  /** Of each route that changed: position, change, backends or null, changes of backends. */
  readonly routes: unknown;
  readonly nodeOutput: unknown;
  /** Of each route whose field changed: position, change. */
  readonly outputs: unknown;
  readonly reasons: readonly Reason[];
  readonly stateDigest: Uint8Array;
  /** From its first reading to its last write; null where time is counted, not passed. Since 1.1. */
  readonly tookMs: number | null;
}

export const tickPayload = record<TickPayload>('tick', {
  dtMs: number,
  held: flag,
  knobs: nullable(knobs),
  outcome,
  node: raw,
  names: nullable(list(text)),
  routes: raw,
  nodeOutput: raw,
  outputs: raw,
  reasons,
  stateDigest: bytes,
  tookMs: later(nullable(number), null),
});

interface SnapshotPayload {
  readonly knobs: Knobs | null;
  readonly node: NodeMemory;
  readonly held: boolean;
  /** Of each route: name, memory, its field at rest or null. */
  readonly routes: unknown;
}

export const snapshotPayload = record<SnapshotPayload>('snapshot', {
  knobs: nullable(knobs),
  node: nodeMemory,
  held: flag,
  routes: raw,
});

/** Ticks that were made and not recorded. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  readonly ticks: number;
  /** One clause. */
  readonly why: string;
}

export const gapPayload = record<Gap>('gap', {
  from: number,
  to: number,
  ticks: number,
  why: text,
});

/** The columns of this version. */
export function ownColumns(): Map<string, readonly string[]> {
  const columns = new Map<string, readonly string[]>();
  const all = [
    [tickPayload, snapshotPayload, gapPayload],
    [nodeSignals, routeSignals, backendSignals, routeMemory],
    [routeField, nodeField, routeOutput, nodeOutput],
  ].flat();
  for (const shape of all) shape.describe(columns);
  return columns;
}

/** Every shape, as a trace with these columns has it. */
export function bindAll(columns: Columns) {
  return {
    tick: tickPayload.bind(columns),
    snapshot: snapshotPayload.bind(columns),
    gap: gapPayload.bind(columns),
    knobs: knobs.bind(columns),
    nodeSignals: nodeSignals.bind(columns),
    nodeMemory: nodeMemory.bind(columns),
    nodeField: nodeField.bind(columns),
    nodeOutput: nodeOutput.bind(columns),
    routeSignals: routeSignals.bind(columns),
    backendSignals: backendSignals.bind(columns),
    routeMemory: routeMemory.bind(columns),
    routeField: routeField.bind(columns),
    routeOutput: routeOutput.bind(columns),
  };
}

export type BoundShapes = ReturnType<typeof bindAll>;
