// Reads and writes the contract's structs in memory that the kernel shares. It
// knows kinds of fields, not which structs there are: abi.ts says that.
import { layouts } from './abi.js';

type Layouts = typeof layouts;
export type StructName = keyof Layouts;

interface Field {
  readonly kind: string;
  readonly offset: number;
  readonly count?: number;
  readonly of?: string;
}

interface Layout {
  readonly size: number;
  readonly fields: Readonly<Record<string, Field>>;
}

type Scalar<K> = K extends 'u64' ? bigint : K extends 'text' ? string : number;

type FieldValue<F> = F extends { kind: 'struct'; of: infer O extends StructName }
  ? Struct<O>
  : F extends { kind: 'text' }
    ? string
    : F extends { kind: infer K; count: number }
      ? Scalar<K>[]
      : F extends { kind: infer K }
        ? Scalar<K>
        : never;

/** A decoded struct: 64-bit integers as bigint, arrays as arrays, addresses as host-order numbers. */
export type Struct<N extends StructName> = {
  -readonly [F in keyof Layouts[N]['fields']]: FieldValue<Layouts[N]['fields'][F]>;
};

type FieldsOf<N extends StructName> = Layouts[N]['fields'];
type FieldsOfKind<N extends StructName, K extends string> = {
  [F in keyof FieldsOf<N>]: FieldsOf<N>[F] extends { kind: K } ? F : never;
}[keyof FieldsOf<N>] &
  string;

const widths: Readonly<Record<string, number>> = {
  u8: 1,
  u16: 2,
  be16: 2,
  u32: 4,
  be32: 4,
  u64: 8,
};
const text = { decoder: new TextDecoder(), encoder: new TextEncoder() };

function readScalar(view: DataView, kind: string, at: number): number | bigint {
  switch (kind) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, true);
    case 'be16':
      return view.getUint16(at);
    case 'u32':
      return view.getUint32(at, true);
    case 'be32':
      return view.getUint32(at);
    case 'u64':
      return view.getBigUint64(at, true);
    default:
      throw new TypeError(`no codec for ${kind}`);
  }
}

function writeScalar(view: DataView, kind: string, at: number, value: unknown): void {
  if (kind === 'u64') view.setBigUint64(at, value as bigint, true);
  else if (kind === 'u8') view.setUint8(at, value as number);
  else if (kind === 'u16') view.setUint16(at, value as number, true);
  else if (kind === 'be16') view.setUint16(at, value as number);
  else if (kind === 'u32') view.setUint32(at, value as number, true);
  else if (kind === 'be32') view.setUint32(at, value as number);
  else throw new TypeError(`no codec for ${kind}`);
}

function readText(view: DataView, at: number, bytes: number): string {
  // Nearly every entry of a large map is free: an empty text is told by its first byte.
  if (view.getUint8(at) === 0) return '';
  const raw = new Uint8Array(view.buffer, view.byteOffset + at, bytes);
  const end = raw.indexOf(0);
  return text.decoder.decode(end < 0 ? raw : raw.subarray(0, end));
}

function writeText(view: DataView, at: number, bytes: number, value: string): void {
  const encoded = text.encoder.encode(value);
  // The last byte stays zero, so that the kernel's tools read a string.
  if (encoded.length >= bytes) throw new RangeError(`${value} is longer than ${bytes - 1} bytes`);
  const raw = new Uint8Array(view.buffer, view.byteOffset + at, bytes);
  raw.fill(0);
  raw.set(encoded);
}

function width(kind: string): number {
  const bytes = widths[kind];
  if (bytes === undefined) throw new TypeError(`no codec for ${kind}`);
  return bytes;
}

/** One kind of struct of the contract. */
export class StructCodec<N extends StructName> {
  readonly size: number;

  private readonly layout: Layout;

  constructor(readonly name: N) {
    this.layout = layouts[name];
    this.size = this.layout.size;
  }

  private field(name: string): Field {
    const field = this.layout.fields[name];
    if (field === undefined) throw new TypeError(`${this.name} has no field ${name}`);
    return field;
  }

  /** Where a field is, for the atomics and loops that work on raw memory. */
  place(field: keyof FieldsOf<N> & string): { kind: string; offset: number } {
    return this.field(field);
  }

  /** Elements of an array field; 1 for a plain one. */
  count(field: keyof FieldsOf<N> & string): number {
    return this.field(field).count ?? 1;
  }

  private value(view: DataView, at: number, field: Field): unknown {
    const start = at + field.offset;
    if (field.kind === 'text') return readText(view, start, field.count ?? 0);
    if (field.kind === 'struct') {
      return new StructCodec(field.of as StructName).decode(view, start);
    }
    if (field.count === undefined) return readScalar(view, field.kind, start);
    const step = width(field.kind);
    return Array.from({ length: field.count }, (_, i) =>
      readScalar(view, field.kind, start + i * step),
    );
  }

  /** The struct at byte `at` of `view`. */
  decode(view: DataView, at = 0): Struct<N> {
    return Object.fromEntries(
      Object.entries(this.layout.fields).map(([name, field]) => [
        name,
        this.value(view, at, field),
      ]),
    ) as Struct<N>;
  }

  get<F extends keyof FieldsOf<N> & string>(view: DataView, at: number, field: F): Struct<N>[F] {
    return this.value(view, at, this.field(field)) as Struct<N>[F];
  }

  /** Writes the fields that are given and leaves the others as they are. */
  write(view: DataView, at: number, values: Partial<Struct<N>>): void {
    for (const [name, value] of Object.entries(values)) {
      const field = this.field(name);
      const start = at + field.offset;
      if (field.kind === 'text') writeText(view, start, field.count ?? 0, value as string);
      else if (field.count === undefined) writeScalar(view, field.kind, start, value);
      else {
        const step = width(field.kind);
        (value as unknown[]).forEach((element, i) => {
          writeScalar(view, field.kind, start + i * step, element);
        });
      }
    }
  }

  /** A struct of its own, zero where nothing is given: a map's key or value. */
  encode(values: Partial<Struct<N>>): Uint8Array {
    const bytes = new Uint8Array(this.size);
    this.write(new DataView(bytes.buffer), 0, values);
    return bytes;
  }

  decodeBytes(bytes: Uint8Array): Struct<N> {
    return this.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
}

/** An array of structs in shared memory: a mapped array map. */
export class StructArray<N extends StructName> {
  readonly length: number;
  readonly view: DataView;
  private readonly words: Uint32Array;

  constructor(
    readonly codec: StructCodec<N>,
    readonly buffer: ArrayBuffer,
    length: number,
  ) {
    this.length = length;
    this.view = new DataView(buffer);
    this.words = new Uint32Array(buffer);
  }

  at(index: number): number {
    if (index < 0 || index >= this.length) {
      throw new RangeError(`${this.codec.name}[${index}] is outside 0..${this.length - 1}`);
    }
    return index * this.codec.size;
  }

  read(index: number): Struct<N> {
    return this.codec.decode(this.view, this.at(index));
  }

  get<F extends keyof FieldsOf<N> & string>(index: number, field: F): Struct<N>[F] {
    return this.codec.get(this.view, this.at(index), field);
  }

  write(index: number, values: Partial<Struct<N>>): void {
    this.codec.write(this.view, this.at(index), values);
  }

  clear(index: number): void {
    new Uint8Array(this.buffer, this.at(index), this.codec.size).fill(0);
  }

  /**
   * A reader of one numeric field, for loops over many elements: 64-bit fields
   * come as doubles, exact up to 2^53 (104 days in nanoseconds; counts for ever).
   */
  reader(field: FieldsOfKind<N, 'u16' | 'u32' | 'u64'>): (index: number) => number {
    const { kind, offset } = this.codec.place(field);
    const { words } = this;
    if (kind === 'u16') {
      const halves = new Uint16Array(this.buffer);
      const width = this.codec.size / 2;
      return (index) => halves[index * width + offset / 2] ?? 0;
    }
    const stride = this.codec.size / 4;
    const word = offset / 4;
    if (kind === 'u32') return (index) => words[index * stride + word] ?? 0;
    return (index) => {
      const low = index * stride + word;
      return (words[low] ?? 0) + (words[low + 1] ?? 0) * 0x1_0000_0000;
    };
  }

  /** The same for a 64-bit field that counts modulo 2^64 and may be below zero. */
  signedReader(field: FieldsOfKind<N, 'u64'>): (index: number) => number {
    const { words } = this;
    const stride = this.codec.size / 4;
    const word = this.codec.place(field).offset / 4;
    return (index) => {
      const low = index * stride + word;
      return (words[low] ?? 0) + ((words[low + 1] ?? 0) | 0) * 0x1_0000_0000;
    };
  }

  /** A reader of one word of a 32-bit array field. */
  elementReader(field: FieldsOfKind<N, 'u32'>): (index: number, element: number) => number {
    const { words } = this;
    const stride = this.codec.size / 4;
    const word = this.codec.place(field).offset / 4;
    return (index, element) => words[index * stride + word + element] ?? 0;
  }

  /** A writer of one 32-bit field or of an element of a 32-bit array field, for the same loops. */
  writer(field: FieldsOfKind<N, 'u32'>): (index: number, value: number, element?: number) => void {
    const { words } = this;
    const stride = this.codec.size / 4;
    const word = this.codec.place(field).offset / 4;
    return (index, value, element = 0) => {
      words[index * stride + word + element] = value;
    };
  }
}
