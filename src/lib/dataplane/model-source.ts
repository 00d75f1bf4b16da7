// The model behind the same interface as the kernel: plain memory, the very
// programs of nity.bpf.c, and a clock that its owner moves.
import type { Knobs } from '../config/knobs.js';
import { initialise } from './initialise.js';
import { Model, type MapHandle } from './native.js';
import { Plane, type MapName, type MapSource } from './plane.js';

export interface ModelSizes {
  readonly slots: number;
  readonly routes: number;
  readonly backends: number;
  readonly addresses: number;
  readonly flows: number;
}

const smallNode: ModelSizes = {
  slots: 65_536,
  routes: 1024,
  backends: 4096,
  addresses: 2048,
  flows: 4096,
};

export class ModelSource implements MapSource {
  readonly kind = 'model';
  readonly model: Model;

  constructor(knobs: Knobs, sizes: ModelSizes = smallNode) {
    const { slots, routes, backends, addresses, flows } = sizes;
    this.model = new Model(slots, routes, backends, addresses, flows);
    initialise(this.model.map('field_state').mmap(), knobs, 'first-byte');
  }

  map(name: MapName): MapHandle {
    return { ...this.model.map(name), close: () => undefined };
  }

  nowNs(): bigint {
    return this.model.nowNs();
  }

  plane(): Plane {
    return new Plane(this);
  }

  close(): void {
    // Memory goes when nothing refers to it.
  }
}
