// The stalls of the node alone, for a view that needs no other sensor.
import type { Stalls } from '../field/signals.js';
import { StallSensor } from './psi.js';

export class NodeStalls {
  private readonly sensor = new StallSensor({
    cpu: '/proc/pressure/cpu',
    memory: '/proc/pressure/memory',
    io: '/proc/pressure/io',
  });

  /** Shares of the time since the last look. */
  look(nowMs: number): Stalls {
    return this.sensor.look(nowMs);
  }

  close(): void {
    this.sensor.close();
  }
}
