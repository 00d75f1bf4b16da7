// Bytes in, ticks out: the inverse of the writer, for all formats up to this one.
import { decode } from '@msgpack/msgpack';
import { z } from 'zod';

import type { Knobs } from '../config/knobs.js';
import type { Reason } from '../field/reasons.js';
import type {
  BackendSignals,
  FieldState,
  Inputs,
  RouteField,
  RouteMemory,
  RouteSignals,
} from '../field/types.js';
import {
  DamagedTraceError,
  frames,
  readPrelude,
  UnbegunTraceError,
  type FormatVersion,
  type Frame,
} from './frame.js';
import { bindAll, type BoundShapes, type Gap, type TraceHeader } from './records.js';
import { listOf, MisshapenError } from './shape.js';
import { deepNode, type FlatNode, type OutcomeKind } from './shapes.js';
import type { outputOf } from './writer.js';

export type RouteOutput = ReturnType<typeof outputOf>;

export interface RecordedTick {
  readonly sequence: number;
  readonly atNs: bigint;
  readonly knobs: Knobs;
  readonly inputs: Inputs;
  readonly outcome: OutcomeKind;
  readonly node: { readonly regime: RouteField['regime']; readonly digest: Uint8Array };
  /** In the order of the inputs' routes. */
  readonly outputs: readonly RouteOutput[];
  readonly reasons: readonly Reason[];
  readonly stateDigest: Uint8Array;
  readonly tookMs: number | null;
}

export type TraceEvent =
  | { readonly kind: 'gap'; readonly sequence: number; readonly atNs: bigint; readonly gap: Gap }
  | {
      readonly kind: 'snapshot';
      readonly sequence: number;
      readonly atNs: bigint;
      readonly state: FieldState;
    }
  | { readonly kind: 'tick'; readonly tick: RecordedTick };

export interface TraceFile {
  readonly file: string;
  readonly format: FormatVersion;
  readonly header: TraceHeader;
  readonly shapes: BoundShapes;
  /** Monotonic time of the header. */
  readonly atNs: bigint;
  /** Yields in order; returns where the whole records end if the tail is cut off, or null. */
  events(): Generator<TraceEvent, number | null>;
}

const headerSchema = z.object({
  nity: z.string(),
  // Format 1.0 had no column for it, and the first law alone.
  law: z.number().default(1),
  build: z.string(),
  node: z.string(),
  kernel: z.string(),
  host: z.string(),
  phase: z.number(),
  run: z.string(),
  wallMs: z.number(),
  columns: z.record(z.string(), z.array(z.string())),
});

export function readTrace(file: string, bytes: Buffer): TraceFile {
  const format = readPrelude(file, bytes);
  const records = frames(file, bytes);
  const first = records.next();
  if (first.done === true) {
    throw new UnbegunTraceError(file, first.value, 'the trace ends before its header does');
  }
  if (first.value.kind !== 'header') {
    throw new DamagedTraceError(file, first.value.offset, 'the first record is no header');
  }
  const { offset, atNs } = first.value;
  return at(file, offset, () => {
    const header: TraceHeader = headerSchema.parse(decode(first.value.payload));
    const shapes = bindAll(new Map(Object.entries(header.columns)));
    return {
      file,
      format,
      header,
      shapes,
      atNs,
      *events() {
        const state = new Reading(shapes);
        let next = records.next();
        for (; next.done !== true; next = records.next()) {
          const { value } = next;
          yield at(file, value.offset, () => state.event(value));
        }
        return next.value === bytes.length ? null : next.value;
      },
    };
  });
}

/** Whatever is wrong with a whole record's contents is wrong at its offset. */
function at<T>(file: string, offset: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof DamagedTraceError) throw error;
    const why = error instanceof MisshapenError ? error.message : 'a record that cannot be read';
    throw new DamagedTraceError(
      file,
      offset,
      why,
      'A later nity may have recorded it: replay it with that one.',
      error,
    );
  }
}

/** What the records so far say, on which the next one builds. */
class Reading {
  private knobs: Knobs | null = null;
  private node: FlatNode | undefined;
  private names: readonly string[] = [];
  private routes = new Map<string, RouteSignals>();
  private nodeOutput: RecordedTick['node'] | undefined;
  private outputs = new Map<string, RouteOutput>();
  private begun = false;

  constructor(private readonly shapes: BoundShapes) {}

  event({ kind, sequence, atNs, payload }: Frame): TraceEvent {
    const packed = decode(payload);
    switch (kind) {
      case 'header':
        throw new MisshapenError('a second header');
      case 'gap':
        return { kind, sequence, atNs, gap: this.shapes.gap.read(packed) };
      case 'snapshot':
        return { kind, sequence, atNs, state: this.snapshot(packed) };
      case 'tick':
        if (!this.begun) throw new MisshapenError('a tick before the first snapshot');
        return { kind, tick: this.tick(sequence, atNs, packed) };
    }
  }

  private snapshot(packed: unknown): FieldState {
    const { knobs, node, held, routes } = this.shapes.snapshot.read(packed);
    this.begun = true;
    this.knobs = knobs;
    this.node = undefined;
    this.names = [];
    this.routes = new Map();
    this.nodeOutput = undefined;
    this.outputs = new Map();
    const flat = listOf(routes);
    const memories = new Map<string, RouteMemory>();
    for (let i = 0; i < flat.length; i += 3) {
      memories.set(String(flat[i]), this.memory(flat[i + 1], flat[i + 2]));
    }
    return { knobs, node, routes: memories, held };
  }

  private memory(packed: unknown, rest: unknown): RouteMemory {
    const bare = this.shapes.routeMemory.read(packed);
    if (rest === null) return { ...bare, rest: null };
    const field = this.shapes.routeField.read(rest);
    const backends = field.backends.map((backend) => {
      const memory = bare.backends.get(backend.id);
      if (memory === undefined) throw new MisshapenError(`${backend.id} rests without a memory`);
      return { ...backend, memory };
    });
    return { ...bare, rest: { ...field, backends } };
  }

  private tick(sequence: number, atNs: bigint, packed: unknown): RecordedTick {
    const { shapes } = this;
    const payload = shapes.tick.read(packed);
    const { dtMs, held, outcome, reasons, stateDigest, tookMs } = payload;
    this.knobs = payload.knobs ?? this.knobs;
    if (this.knobs === null) throw new MisshapenError('a tick without knobs');
    this.node = shapes.nodeSignals.readChange(payload.node, this.node);
    this.names = payload.names ?? this.names;
    this.nodeOutput = shapes.nodeOutput.readChange(payload.nodeOutput, this.nodeOutput);
    this.readRoutes(listOf(payload.routes));
    this.readOutputs(listOf(payload.outputs));
    return {
      sequence,
      atNs,
      knobs: this.knobs,
      inputs: { dtMs, held, node: deepNode(this.node), routes: this.each(this.routes) },
      outcome,
      node: this.nodeOutput,
      outputs: this.each(this.outputs),
      reasons,
      stateDigest,
      tookMs,
    };
  }

  /** In the order of the routes' names; what is not among them is forgotten. */
  private each<T>(known: Map<string, T>): T[] {
    const values = this.names.map((name) => {
      const value = known.get(name);
      if (value === undefined) throw new MisshapenError(`nothing was said of ${name}`);
      return value;
    });
    if (known.size > values.length) {
      const names = new Set(this.names);
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    }
    return values;
  }

  private nameAt(position: unknown): string {
    const name = typeof position === 'number' ? this.names[position] : undefined;
    if (name === undefined) throw new MisshapenError('a route that is not there');
    return name;
  }

  private readRoutes(flat: readonly unknown[]): void {
    for (let i = 0; i < flat.length; i += 4) {
      const name = this.nameAt(flat[i]);
      const last = this.routes.get(name);
      const change = flat[i + 1];
      const bare =
        change === null && last !== undefined
          ? last
          : this.shapes.routeSignals.readChange(change, last);
      const backends = this.readBackends(listOf(flat[i + 3]), flat[i + 2], last?.backends ?? []);
      const { slots, refused, override } = bare;
      this.routes.set(name, { name, slots, refused, override, backends });
    }
  }

  /** `count` is null while the backends are the same as in the tick before. */
  private readBackends(
    flat: readonly unknown[],
    count: unknown,
    last: readonly BackendSignals[],
  ): readonly BackendSignals[] {
    if (flat.length === 0 && count === null) return last;
    const backends = count === null ? [...last] : [];
    const most = count === null ? last.length : Number(count);
    for (let i = 0; i < flat.length; i += 2) {
      const position = Number(flat[i]);
      // Backends are told in their order: one that skips a place would leave a hole.
      if (!(position < most && position <= backends.length)) {
        throw new MisshapenError('a backend that is not there');
      }
      const known = count === null ? last[position] : undefined;
      backends[position] = this.shapes.backendSignals.readChange(flat[i + 1], known);
    }
    if (backends.length !== most) throw new MisshapenError('a backend is missing');
    return backends;
  }

  private readOutputs(flat: readonly unknown[]): void {
    for (let i = 0; i < flat.length; i += 2) {
      const name = this.nameAt(flat[i]);
      const change = this.shapes.routeOutput.readChange(flat[i + 1], this.outputs.get(name));
      this.outputs.set(name, change);
    }
  }
}
