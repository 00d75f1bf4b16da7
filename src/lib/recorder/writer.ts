// Ticks in, bytes out. It knows no file and no clock: the agent's recorder and the
// simulator write the same traces with it.
import { Encoder } from '@msgpack/msgpack';

import type { Knobs } from '../config/knobs.js';
import type { Reason } from '../field/reasons.js';
import type {
  Field,
  FieldState,
  Inputs,
  RouteField,
  RouteMemory,
  RouteSignals,
} from '../field/types.js';
import { Digester } from './digest.js';
import { frame, prelude } from './frame.js';
import {
  bindAll,
  gapPayload,
  ownColumns,
  snapshotPayload,
  tickPayload,
  type Gap,
  type TraceAbout,
  type TraceHeader,
} from './records.js';
import {
  backendSignals,
  flatNode,
  nodeOutput,
  nodeSignals,
  routeField,
  routeMemory,
  routeOutput,
  routeSignals,
  type FlatNode,
  type OutcomeKind,
} from './shapes.js';

/** A tick as it can be recorded; the agent's own Tick is one. */
export interface RecordableTick {
  readonly sequence: number;
  /** Monotonic. */
  readonly atNs: bigint;
  readonly knobs: Knobs;
  readonly before: FieldState;
  readonly inputs: Inputs;
  readonly state: FieldState;
  readonly field: Field;
  readonly reasons: readonly Reason[];
  readonly outcome: { readonly kind: OutcomeKind };
  readonly tookMs?: number;
}

interface RouteOutput {
  readonly slots: readonly number[];
  readonly states: readonly ('healthy' | 'degraded' | 'isolated')[];
  readonly mode: 'normal' | 'soft' | 'hard';
  readonly regime: RouteField['regime'];
  readonly gear: RouteField['gear'];
  readonly budgetPerSecond: number | null;
  readonly digest: Uint8Array;
}

interface WrittenOutput {
  readonly field: RouteField;
  readonly output: RouteOutput;
}

const gapClauses = 4;

export class TraceWriter {
  private readonly columns = ownColumns();
  private readonly digester = new Digester(bindAll(this.columns));
  private readonly encoder = new Encoder({ initialBufferSize: 1 << 16 });
  private lost: Gap | undefined;
  /** The state that the last record left; undefined: the next tick begins with a snapshot. */
  private state: FieldState | undefined;
  private knobs: Knobs | null = null;
  private node: FlatNode | undefined;
  private names: readonly string[] = [];
  private routes = new Map<string, RouteSignals>();
  private nodeOutput:
    { readonly regime: RouteField['regime']; readonly digest: Uint8Array } | undefined;
  private outputs = new Map<string, WrittenOutput>();

  constructor(private readonly about: TraceAbout) {}

  /** The first bytes of a file, wherever the ticks that follow it come from. */
  header(atNs: bigint, wallMs: number): Buffer {
    const header: TraceHeader = {
      ...this.about,
      wallMs,
      columns: Object.fromEntries(this.columns),
    };
    return Buffer.concat([prelude(), this.frame('header', 0, atNs, header)]);
  }

  /** The same, for the ticks from now on: the next begins with a snapshot. */
  begin(atNs: bigint, wallMs: number): Buffer {
    this.restart();
    return this.header(atNs, wallMs);
  }

  /** The next tick does not build on what was written before. */
  restart(): void {
    this.state = undefined;
  }

  /** These ticks will not be written; the trace will say so. */
  lose({ from, to, ticks, why }: Gap): void {
    const { lost } = this;
    const clauses = lost === undefined ? [] : lost.why.split('; ');
    if (!clauses.includes(why) && clauses.length < gapClauses) clauses.push(why);
    this.lost = {
      from: Math.min(from, lost?.from ?? from),
      to: Math.max(to, lost?.to ?? to),
      ticks: ticks + (lost?.ticks ?? 0),
      why: clauses.join('; '),
    };
    this.restart();
  }

  /** What the next tick will begin by telling. */
  get untold(): Gap | undefined {
    return this.lost;
  }

  /** One tick, after whatever a reader needs to know before it. */
  tick(tick: RecordableTick): Buffer {
    const { sequence, atNs, before } = tick;
    const parts: Buffer[] = [];
    if (this.lost !== undefined) {
      parts.push(this.frame('gap', sequence, atNs, gapPayload.pack(this.lost)));
    }
    if (this.state !== before) {
      this.forget();
      this.knobs = before.knobs;
      parts.push(this.frame('snapshot', sequence, atNs, packState(before)));
    }
    parts.push(this.frame('tick', sequence, atNs, this.pack(tick)));
    this.state = tick.state;
    this.lost = undefined;
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  private frame(
    kind: Parameters<typeof frame>[0],
    sequence: number,
    atNs: bigint,
    payload: unknown,
  ): Buffer {
    return frame(kind, sequence, atNs, this.encoder.encodeSharedRef(payload));
  }

  private forget(): void {
    this.node = undefined;
    this.names = [];
    this.routes = new Map();
    this.nodeOutput = undefined;
    this.outputs = new Map();
  }

  private pack(tick: RecordableTick): unknown {
    const { knobs, inputs, state, field, reasons, outcome, tookMs = null } = tick;
    const names = inputs.routes.map(({ name }) => name);
    const renamed = names.length !== this.names.length || names.some((n, i) => n !== this.names[i]);
    const node = flatNode(inputs.node);
    const written = { regime: field.node.regime, digest: this.digester.node(field.node) };
    const packed = tickPayload.pack({
      dtMs: inputs.dtMs,
      held: inputs.held,
      knobs: knobs === this.knobs ? null : knobs,
      outcome: outcome.kind,
      node: nodeSignals.packChange(node, this.node),
      names: renamed ? names : null,
      routes: this.packRoutes(inputs.routes),
      nodeOutput: nodeOutput.packChange(written, this.nodeOutput),
      outputs: this.packOutputs(field.routes),
      reasons,
      stateDigest: this.digester.state(state),
      tookMs,
    });
    this.knobs = knobs;
    this.node = node;
    this.names = names;
    this.nodeOutput = written;
    return packed;
  }

  private packRoutes(routes: readonly RouteSignals[]): unknown[] {
    const packed: unknown[] = [];
    const next = new Map<string, RouteSignals>();
    routes.forEach((route, position) => {
      const last = this.routes.get(route.name);
      next.set(route.name, route);
      if (last === route) return;
      const { change, ids, backends } = packRoute(route, last);
      if (change !== null || ids !== null || backends.length > 0) {
        packed.push(position, change, ids, backends);
      }
    });
    this.routes = next;
    return packed;
  }

  private packOutputs(fields: readonly RouteField[]): unknown[] {
    const packed: unknown[] = [];
    const next = new Map<string, WrittenOutput>();
    fields.forEach((field, position) => {
      const last = this.outputs.get(field.name);
      if (last?.field === field) {
        next.set(field.name, last);
        return;
      }
      const output = outputOf(field, this.digester);
      next.set(field.name, { field, output });
      const change = routeOutput.packChange(output, last?.output);
      if (change !== null) packed.push(position, change);
    });
    this.outputs = next;
    return packed;
  }
}

export function outputOf(field: RouteField, digester: Digester): RouteOutput {
  const { backends, regime, gear, valve } = field;
  return {
    slots: backends.map(({ slots }) => slots),
    states: backends.map(({ state }) => state),
    mode: valve.mode,
    regime,
    gear,
    budgetPerSecond: valve.budgetPerSecond,
    digest: digester.field(field),
  };
}

/** Of a route, what is not as it was; of its backends, those that are not. */
function packRoute(route: RouteSignals, last: RouteSignals | undefined) {
  const before = last?.backends ?? [];
  const sameIds =
    before.length === route.backends.length &&
    route.backends.every(({ id }, i) => id === before[i]?.id);
  const backends: unknown[] = [];
  route.backends.forEach((signals, i) => {
    const known = sameIds ? before[i] : undefined;
    if (known === signals) return;
    const change = backendSignals.packChange(signals, known);
    if (change !== null) backends.push(i, change);
  });
  return {
    change: routeSignals.packChange(route, last),
    ids: sameIds && last !== undefined ? null : route.backends.length,
    backends,
  };
}

function packState({ knobs, node, held, routes }: FieldState): unknown {
  return snapshotPayload.pack({
    knobs,
    node,
    held,
    routes: [...routes].flatMap(([name, memory]) => [
      name,
      routeMemory.pack(memory),
      packRest(memory),
    ]),
  });
}

function packRest({ rest }: RouteMemory): unknown {
  return rest === null ? null : routeField.pack(rest);
}
