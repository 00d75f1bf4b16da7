// The dataplane's maps as typed memory. The kernel's maps and the model's look
// the same from here, and nothing below this file knows which it has.
import { type layouts, Limit, Schema } from './abi.js';
import { SchemaError } from '../errors.js';
import { compareExchange64, loadAcquire64, storeRelease64, type MapHandle } from './native.js';
import { StructArray, StructCodec } from './struct.js';

export const mapNames = [
  'routes',
  'slot_table_a',
  'slot_table_b',
  'field_state',
  'rt_control',
  'route_names',
  'backends',
  'backend_live',
  'backend_counters',
  'fallback',
  'conntrack',
  'affinity',
  'sk_flow',
  'counters',
  'events',
  'trace',
] as const;
export type MapName = (typeof mapNames)[number];

/** The minor schema that brought a map; those of 2.0 are not named. */
const since: Partial<Record<MapName, number>> = {};

/** The maps that a dataplane of this schema has. */
export function mapsOf(schema: number): MapName[] {
  return mapNames.filter((name) => (since[name] ?? 0) <= (schema & 0xffff));
}

/** Where maps come from: pins of the kernel, or a model. Times are monotonic nanoseconds. */
export interface MapSource {
  readonly kind: 'kernel' | 'model';
  map(name: MapName): MapHandle;
  nowNs(): bigint;
  close(): void;
}

export const codecs = {
  routeKey: new StructCodec('routeKey'),
  conntrackKey: new StructCodec('conntrackKey'),
  conntrack: new StructCodec('conntrack'),
  affinityKey: new StructCodec('affinityKey'),
  affinity: new StructCodec('affinity'),
  socket: new StructCodec('socket'),
  event: new StructCodec('event'),
  trace: new StructCodec('trace'),
} as const;

/** major * 65536 + minor, as field_state carries it. */
export const schemaWord = Schema.major * 0x1_0000 + Schema.minor;

export function describeSchema(word: number): string {
  return `${word >>> 16}.${word & 0xffff}`;
}

/** A word of field_state that both planes write: always whole, always ordered. */
type FieldWord =
  | 'epoch'
  | 'heldEpoch'
  | 'lastAgentSeenNs'
  | 'projectionHeldUntilNs'
  | 'agentStartedNs'
  | 'traceUntilNs';

export class Plane {
  readonly fieldState: StructArray<'fieldState'>;
  readonly slotTables: readonly [Uint32Array, Uint32Array];
  readonly fallback: Uint32Array;
  readonly rtControl: StructArray<'rtControl'>;
  readonly routeNames: StructArray<'routeName'>;
  readonly backends: StructArray<'backend'>;
  readonly backendLive: StructArray<'backendLive'>;
  readonly backendCounters: StructArray<'backendCounters'>;
  readonly routes: MapHandle;
  private readonly handles = new Map<MapName, MapHandle>();

  constructor(readonly source: MapSource) {
    this.fieldState = this.structs('field_state', 'fieldState');
    const schema = this.fieldState.get(0, 'schema');
    if (schema >>> 16 !== Schema.major) {
      throw new SchemaError(
        `The dataplane that is loaded has schema ${describeSchema(schema)}; this is ${describeSchema(schemaWord)}.`,
        'Use the version of nity that loaded it, or run its `nity unload` and load this one.',
      );
    }
    this.slotTables = [this.words('slot_table_a'), this.words('slot_table_b')];
    this.fallback = this.words('fallback');
    this.rtControl = this.structs('rt_control', 'rtControl');
    this.routeNames = this.structs('route_names', 'routeName');
    this.backends = this.structs('backends', 'backend');
    this.backendLive = this.structs('backend_live', 'backendLive');
    this.backendCounters = this.structs('backend_counters', 'backendCounters');
    this.routes = this.handle('routes');
  }

  handle(name: MapName): MapHandle {
    const known = this.handles.get(name);
    if (known !== undefined) return known;
    const opened = this.source.map(name);
    this.handles.set(name, opened);
    return opened;
  }

  private structs<N extends keyof typeof layouts>(map: MapName, struct: N): StructArray<N> {
    const handle = this.handle(map);
    return new StructArray(new StructCodec(struct), handle.mmap(), handle.info().maxEntries);
  }

  /** Slots, page after page. */
  private words(map: MapName): Uint32Array {
    const handle = this.handle(map);
    return new Uint32Array(handle.mmap(), 0, handle.info().maxEntries * Limit.slotsPerPage);
  }

  nowNs(): bigint {
    return this.source.nowNs();
  }

  word(name: FieldWord): bigint {
    return loadAcquire64(this.fieldState.buffer, this.fieldState.codec.place(name).offset);
  }

  setWord(name: FieldWord, value: bigint): void {
    storeRelease64(this.fieldState.buffer, this.fieldState.codec.place(name).offset, value);
  }

  /** The flip itself. False when somebody else has flipped since `from` was read. */
  flipEpoch(from: bigint, to: bigint): boolean {
    return compareExchange64(
      this.fieldState.buffer,
      this.fieldState.codec.place('epoch').offset,
      from,
      to,
    );
  }

  /** The epoch that table 0 (A) or 1 (B) was completed for; 0 while it is being written. */
  tableEpoch(table: 0 | 1): bigint {
    return loadAcquire64(this.fieldState.buffer, this.tableEpochOffset(table));
  }

  setTableEpoch(table: 0 | 1, epoch: bigint): void {
    storeRelease64(this.fieldState.buffer, this.tableEpochOffset(table), epoch);
  }

  private tableEpochOffset(table: 0 | 1): number {
    return this.fieldState.codec.place('tableEpoch').offset + table * 8;
  }

  close(): void {
    for (const handle of this.handles.values()) handle.close();
    this.source.close();
  }
}

/** Which table an epoch names: its parity, even A and odd B. */
export function tableOf(epoch: bigint): 0 | 1 {
  return (epoch & 1n) === 0n ? 0 : 1;
}

export function otherTable(table: 0 | 1): 0 | 1 {
  return table === 0 ? 1 : 0;
}

/** A range of slots as one word of rt_control: size in the upper half, base in the lower. */
export interface SlotRange {
  readonly base: number;
  readonly size: number;
}

export function rangeWord({ base, size }: SlotRange): bigint {
  return (BigInt(size) << 32n) | BigInt(base);
}

export function rangeOf(word: bigint): SlotRange {
  return { base: Number(word & 0xffff_ffffn), size: Number(word >> 32n) };
}

export const noRange: SlotRange = { base: 0, size: 0 };
