// Shapes: one description of a type from which come its packed form (positions, not
// names), its reading by the names that a trace's header gives, its comparison and
// its canonical bytes. So a column that is added later breaks no older trace.
import type { Sink } from './sink.js';

/** The names of a trace's columns, and the words of its enumerations. */
export type Columns = ReadonlyMap<string, readonly string[]>;

/** A shape as one trace has it. */
export interface Bound<T> {
  read(packed: unknown): T;
  /** Canonical bytes: equal values, and no others, give equal ones. */
  digest(value: T, sink: Sink): void;
}

export interface Shape<T> {
  pack(value: T): unknown;
  same(a: T, b: T): boolean;
  /** Names of columns and words of enumerations, for a header. */
  describe(into: Map<string, readonly string[]>): void;
  bind(columns: Columns): Bound<T>;
}

export interface RecordShape<T> extends Shape<T> {
  /** Only what differs from `last`; null when nothing does. */
  packChange(value: T, last: T | undefined): unknown;
  bind(columns: Columns): BoundRecord<T>;
}

export interface BoundRecord<T> extends Bound<T> {
  readChange(packed: unknown, last: T | undefined): T;
}

/** The payload is whole, yet not what its header says: written by something else. */
export class MisshapenError extends Error {}

export function listOf(packed: unknown): readonly unknown[] {
  if (!Array.isArray(packed)) throw new MisshapenError('a list was expected');
  return packed as readonly unknown[];
}

/** MessagePack has no negative zero. */
const negativeZero = '-0';

function readNumber(packed: unknown): number {
  if (packed === negativeZero) return -0;
  if (typeof packed !== 'number') throw new MisshapenError('a number was expected');
  return packed;
}

function scalar<T>(
  pack: (value: T) => unknown,
  read: (packed: unknown) => T,
  digest: (value: T, sink: Sink) => void,
): Shape<T> {
  const bound = { read, digest };
  return { pack, same: Object.is, describe: () => undefined, bind: () => bound };
}

export const number = scalar<number>(
  (value) => (value === 0 && Object.is(value, -0) ? negativeZero : value),
  readNumber,
  (value, sink) => {
    sink.number(value);
  },
);

export const flag = scalar<boolean>(
  (value) => value,
  (packed) => {
    if (typeof packed !== 'boolean') throw new MisshapenError('true or false was expected');
    return packed;
  },
  (value, sink) => {
    sink.number(value ? 1 : 0);
  },
);

export const text = scalar<string>(
  (value) => value,
  (packed) => {
    if (typeof packed !== 'string') throw new MisshapenError('a text was expected');
    return packed;
  },
  (value, sink) => {
    sink.text(value);
  },
);

export const bytes: Shape<Uint8Array> = {
  ...scalar<Uint8Array>(
    (value) => value,
    (packed) => {
      if (!(packed instanceof Uint8Array)) throw new MisshapenError('bytes were expected');
      return packed;
    },
    (value, sink) => {
      sink.bytes(value);
    },
  ),
  same: (a, b) => Buffer.compare(a, b) === 0,
};

/** Missing is nil, and nothing else is. */
export function nullable<T>(of: Shape<T>): Shape<T | null> {
  return {
    pack: (value) => (value === null ? null : of.pack(value)),
    same: (a, b) => (a === null || b === null ? a === b : of.same(a, b)),
    describe: (into) => {
      of.describe(into);
    },
    bind(columns) {
      const bound = of.bind(columns);
      return {
        read: (packed) => (packed === null ? null : bound.read(packed)),
        digest(value, sink) {
          if (value === null) sink.nothing();
          else bound.digest(value, sink);
        },
      };
    },
  };
}

export function list<T>(of: Shape<T>): Shape<readonly T[]> {
  return {
    pack: (values) => values.map((value) => of.pack(value)),
    same: (a, b) =>
      a === b ||
      (a.length === b.length &&
        a.every((value, i) => {
          const other = b[i];
          return other !== undefined && of.same(value, other);
        })),
    describe: (into) => {
      of.describe(into);
    },
    bind(columns) {
      const bound = of.bind(columns);
      return {
        read: (packed) => listOf(packed).map((one) => bound.read(one)),
        digest(values, sink) {
          sink.count(values.length);
          for (const value of values) bound.digest(value, sink);
        },
      };
    },
  };
}

/** In the map's own order, which the law's order may follow. */
export function mapOf<V>(of: Shape<V>): Shape<ReadonlyMap<string, V>> {
  return {
    pack: (map) => [...map].flatMap(([key, value]) => [key, of.pack(value)]),
    same(a, b) {
      if (a === b) return true;
      if (a.size !== b.size) return false;
      const others = b.entries();
      for (const [key, value] of a) {
        const other = others.next().value;
        if (other?.[0] !== key || !of.same(value, other[1])) return false;
      }
      return true;
    },
    describe: (into) => {
      of.describe(into);
    },
    bind(columns) {
      const bound = of.bind(columns);
      return {
        read(packed) {
          const flat = listOf(packed);
          const map = new Map<string, V>();
          for (let i = 0; i < flat.length; i += 2) {
            map.set(String(flat[i]), bound.read(flat[i + 1]));
          }
          return map;
        },
        digest(map, sink) {
          sink.count(map.size);
          for (const [key, value] of map) {
            sink.text(key);
            bound.digest(value, sink);
          }
        },
      };
    },
  };
}

/** A closed list of words, packed as their positions in the header's list. */
export function oneOf<W extends string>(name: string, words: readonly W[]): Shape<W> {
  const positions = new Map<string, number>(words.map((word, i) => [word, i]));
  const known: ReadonlySet<string> = new Set(words);
  return {
    pack: (word) => positions.get(word),
    same: (a, b) => a === b,
    describe: (into) => {
      into.set(name, words);
    },
    bind(columns) {
      const theirs = columns.get(name) ?? words;
      const places = new Map(theirs.map((word, i) => [word, i]));
      return {
        read(packed) {
          const word = typeof packed === 'number' ? theirs[packed] : undefined;
          if (word === undefined || !known.has(word)) {
            throw new MisshapenError(
              `${word ?? String(packed)} is no ${name} that this nity knows`,
            );
          }
          return word as W;
        },
        digest(word, sink) {
          sink.word(places.get(word) ?? -1);
        },
      };
    },
  };
}

/** What a column holds in traces that do not have it yet. */
interface Later<T> {
  readonly shape: Shape<T>;
  readonly byDefault: T;
}

type Fields<T> = { readonly [K in keyof T]-?: Shape<T[K]> | Later<T[K]> };

/** A column that older traces lack. */
export function later<T>(shape: Shape<T>, byDefault: T): Later<T> {
  return { shape, byDefault };
}

interface Column {
  readonly name: string;
  readonly shape: Shape<unknown>;
  readonly later: Later<unknown> | undefined;
}

/** At most 32 columns: which of them changed is one word. */
export function record<T extends object>(name: string, fields: Fields<T>): RecordShape<T> {
  type Values = Record<string, unknown>;
  const columns = Object.entries<Shape<unknown> | Later<unknown>>(fields).map(
    ([key, of]): Column =>
      'shape' in of
        ? { name: key, shape: of.shape, later: of }
        : { name: key, shape: of, later: undefined },
  );
  return {
    pack: (value) => columns.map((column) => column.shape.pack((value as Values)[column.name])),
    packChange(value, last) {
      let mask = 0;
      const packed: unknown[] = [0];
      for (let i = 0; i < columns.length; i++) {
        const column = columns[i];
        if (column === undefined) continue;
        const now = (value as Values)[column.name];
        if (last !== undefined && column.shape.same(now, (last as Values)[column.name])) continue;
        mask |= 1 << i;
        packed.push(column.shape.pack(now));
      }
      // A record without columns is whole at once; one whose columns are all as before is nothing.
      if (mask === 0 && last !== undefined) return null;
      packed[0] = mask >>> 0;
      return packed;
    },
    same: (a, b) =>
      a === b ||
      columns.every((column) =>
        column.shape.same((a as Values)[column.name], (b as Values)[column.name]),
      ),
    describe(into) {
      into.set(
        name,
        columns.map((column) => column.name),
      );
      for (const column of columns) column.shape.describe(into);
    },
    bind(header) {
      const theirs = header.get(name) ?? [];
      const found = columns.map(({ name: key, shape, later: added }) => {
        const at = theirs.indexOf(key);
        if (at < 0 && added === undefined) {
          throw new MisshapenError(`${name} has no column ${key}`);
        }
        return { key, at, byDefault: added?.byDefault, bound: shape.bind(header) };
      });
      const digested = found.filter(({ at }) => at >= 0).sort((a, b) => a.at - b.at);
      return {
        read(packed) {
          const values = listOf(packed);
          const result: Values = {};
          for (const { key, at, byDefault, bound } of found) {
            result[key] = at < 0 ? byDefault : bound.read(values[at]);
          }
          return result as T;
        },
        readChange(packed, last) {
          if (packed === null && last !== undefined) return last;
          const [mask, ...values] = listOf(packed);
          const word = readNumber(mask);
          const result: Values = {};
          for (const { key, at, byDefault, bound } of found) {
            if (at < 0) result[key] = byDefault;
            else if ((word >>> at) & 1) {
              result[key] = bound.read(values[bitsBelow(word, at)]);
            } else if (last === undefined) throw new MisshapenError(`${key} of ${name} is missing`);
            else result[key] = (last as Values)[key];
          }
          return result as T;
        },
        digest(value, sink) {
          for (const { key, bound } of digested) bound.digest((value as Values)[key], sink);
        },
      };
    },
  };
}

function bitsBelow(mask: number, at: number): number {
  let count = 0;
  for (let i = 0; i < at; i++) count += (mask >>> i) & 1;
  return count;
}

/** A closed union, told apart by `tag`; packed as the position of its word and the rest of it. */
export function variants<K extends string, T extends Readonly<Record<K, string>>>(
  name: string,
  tag: K,
  of: { readonly [W in T[K]]: RecordShape<Omit<Extract<T, Readonly<Record<K, W>>>, K>> },
): Shape<T> {
  const shapes = of as unknown as Readonly<Record<string, RecordShape<object>>>;
  const words = oneOf(name, Object.keys(shapes));
  const shapeOf = (word: string): RecordShape<object> => {
    const shape = shapes[word];
    if (shape === undefined) throw new MisshapenError(`${word} is no ${name}`);
    return shape;
  };
  return {
    pack: (value) => [words.pack(value[tag]), shapeOf(value[tag]).pack(value)],
    same: (a, b) => a === b || (a[tag] === b[tag] && shapeOf(a[tag]).same(a, b)),
    describe(into) {
      words.describe(into);
      for (const shape of Object.values(shapes)) shape.describe(into);
    },
    bind(columns) {
      const word = words.bind(columns);
      const bounds = new Map(
        (columns.get(name) ?? [])
          .filter((one) => one in shapes)
          .map((one) => [one, shapeOf(one).bind(columns)]),
      );
      const boundOf = (one: string): BoundRecord<object> => {
        const bound = bounds.get(one);
        if (bound === undefined) throw new MisshapenError(`the trace knows no ${name} ${one}`);
        return bound;
      };
      return {
        read(packed) {
          const [position, rest] = listOf(packed);
          const kind = word.read(position);
          return { [tag]: kind, ...boundOf(kind).read(rest) } as T;
        },
        digest(value, sink) {
          word.digest(value[tag], sink);
          bounds.get(value[tag])?.digest(value, sink);
        },
      };
    },
  };
}

/** Packed by whoever fills it in, because what it means depends on the records before. */
export const raw: Shape<unknown> = {
  pack: (value) => value,
  same: () => false,
  describe: () => undefined,
  bind: () => ({ read: (packed) => packed, digest: () => undefined }),
};
