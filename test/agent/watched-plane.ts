// A plane that tells of each write to the maps right after it: whoever is told can look at
// the node as the kernel has it then, or throw, as if the agent had been killed there.
import type { MapHandle } from '../../src/lib/dataplane/native.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { StructArray, type Struct, type StructName } from '../../src/lib/dataplane/struct.js';

export function watchedPlane(plane: Plane, wrote: () => void): Plane {
  const structs = <N extends StructName>(of: StructArray<N>) => new WatchedStructs(of, wrote);
  const watched = {
    fieldState: structs(plane.fieldState),
    rtControl: structs(plane.rtControl),
    routeNames: structs(plane.routeNames),
    backends: structs(plane.backends),
    backendLive: structs(plane.backendLive),
    backendCounters: structs(plane.backendCounters),
    slotTables: plane.slotTables.map((words) => watchedWords(words, wrote)),
    fallback: watchedWords(plane.fallback, wrote),
    routes: watchedMap(plane.routes, wrote),
  };
  const after =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      const result = call(...args);
      wrote();
      return result;
    };
  const words = {
    setWord: after(plane.setWord.bind(plane)),
    setTableEpoch: after(plane.setTableEpoch.bind(plane)),
    flipEpoch: after(plane.flipEpoch.bind(plane)),
  };
  return Object.create(plane, {
    ...Object.fromEntries(
      Object.entries({ ...watched, ...words }).map(([k, value]) => [k, { value }]),
    ),
  }) as Plane;
}

/** A struct is written field by field: each of these is a write. */
class WatchedStructs<N extends StructName> extends StructArray<N> {
  constructor(
    of: StructArray<N>,
    private readonly wrote: () => void,
  ) {
    super(of.codec, of.buffer, of.length);
  }

  override write(index: number, values: Partial<Struct<N>>): void {
    for (const [field, value] of Object.entries(values)) {
      super.write(index, { [field]: value } as Partial<Struct<N>>);
      this.wrote();
    }
  }

  override clear(index: number): void {
    super.clear(index);
    this.wrote();
  }

  override writer(
    ...args: Parameters<StructArray<N>['writer']>
  ): ReturnType<StructArray<N>['writer']> {
    const write = super.writer(...args);
    return (index, value, element) => {
      write(index, value, element);
      this.wrote();
    };
  }
}

/** Words that are set together arrive in two halves. */
function watchedWords(words: Uint32Array, wrote: () => void): Uint32Array {
  const view = new Uint32Array(words.buffer, words.byteOffset, words.length);
  const set = view.set.bind(view);
  view.set = (values: ArrayLike<number>, offset = 0) => {
    const all = Array.from(values);
    const half = all.length >> 1;
    for (const [from, to] of [
      [0, half],
      [half, all.length],
    ] as const) {
      if (from === to) continue;
      set(all.slice(from, to), offset + from);
      wrote();
    }
  };
  return view;
}

/** A batch is written entry by entry. */
function watchedMap(map: MapHandle, wrote: () => void): MapHandle {
  const { keySize, valueSize } = map.info();
  return {
    ...map,
    info: () => map.info(),
    lookup: (key) => map.lookup(key),
    entries: () => map.entries(),
    update(key, value, flags) {
      map.update(key, value, flags);
      wrote();
    },
    updateBatch(keys, values, count) {
      for (let i = 0; i < count; i++) {
        const key = keys.subarray(i * keySize, (i + 1) * keySize);
        map.updateBatch(key, values.subarray(i * valueSize, (i + 1) * valueSize), 1);
        wrote();
      }
    },
    delete(key) {
      const was = map.delete(key);
      wrote();
      return was;
    },
  };
}
