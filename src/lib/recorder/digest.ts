// Digests of the law's memory and of its field, over the columns that a trace has.
// What did not change is the same object, and costs nothing.
import type { Knobs } from '../config/knobs.js';
import type { FieldState, NodeField, RouteField, RouteMemory } from '../field/types.js';
import type { BoundShapes } from './records.js';
import { Sink } from './sink.js';

const stateBytes = 16;
const fieldBytes = 8;

export class Digester {
  private readonly sink = new Sink();
  private readonly memories = new WeakMap<RouteMemory, Uint8Array>();
  private readonly fields = new WeakMap<RouteField, Uint8Array>();
  private readonly tunings = new WeakMap<Knobs, Uint8Array>();

  constructor(private readonly shapes: BoundShapes) {}

  state({ knobs, node, routes, held }: FieldState): Uint8Array {
    const { sink } = this;
    const known = knobs === null ? null : this.knobs(knobs);
    const memories = [...routes.values()].map((memory) => this.memory(memory));
    if (known === null) sink.nothing();
    else sink.bytes(known);
    this.shapes.nodeMemory.digest(node, sink);
    sink.number(held ? 1 : 0);
    sink.count(routes.size);
    let i = 0;
    for (const name of routes.keys()) {
      sink.text(name);
      sink.bytes(memories[i++] ?? new Uint8Array());
    }
    return sink.end(stateBytes);
  }

  /** Without what it shows of the memory. */
  field(field: RouteField): Uint8Array {
    return kept(this.fields, field, () => {
      this.shapes.routeField.digest(field, this.sink);
      return this.sink.end(fieldBytes);
    });
  }

  node(node: NodeField): Uint8Array {
    this.shapes.nodeField.digest(node, this.sink);
    return this.sink.end(fieldBytes);
  }

  private memory(memory: RouteMemory): Uint8Array {
    return kept(this.memories, memory, () => {
      const rest = memory.rest === null ? null : this.field(memory.rest);
      this.shapes.routeMemory.digest(memory, this.sink);
      if (rest === null) this.sink.nothing();
      else this.sink.bytes(rest);
      return this.sink.end(stateBytes);
    });
  }

  private knobs(knobs: Knobs): Uint8Array {
    return kept(this.tunings, knobs, () => {
      this.shapes.knobs.digest(knobs, this.sink);
      return this.sink.end(fieldBytes);
    });
  }
}

function kept<K extends object>(
  cache: WeakMap<K, Uint8Array>,
  key: K,
  make: () => Uint8Array,
): Uint8Array {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = make();
  cache.set(key, made);
  return made;
}
