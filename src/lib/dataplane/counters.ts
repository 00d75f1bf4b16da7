// The node's totals by reason, as decisions count them: one word for each CPU,
// summed here. They outlive the agent.
import { Counter } from './abi.js';
import type { Plane } from './plane.js';

export type CounterName = Exclude<keyof typeof Counter, 'counters'>;

export const counterNames = (Object.keys(Counter) as (keyof typeof Counter)[]).filter(
  (name): name is CounterName => name !== 'counters',
);

export function readCounters(plane: Plane): Record<CounterName, bigint> {
  const handle = plane.handle('counters');
  const key = new Uint8Array(4);
  const totals = counterNames.map((name) => {
    new DataView(key.buffer).setUint32(0, Counter[name], true);
    const perCpu = handle.lookup(key) ?? new Uint8Array(0);
    const words = new DataView(perCpu.buffer, perCpu.byteOffset, perCpu.byteLength);
    let total = 0n;
    for (let at = 0; at < words.byteLength; at += 8) total += words.getBigUint64(at, true);
    return [name, total] as const;
  });
  return Object.fromEntries(totals) as Record<CounterName, bigint>;
}
