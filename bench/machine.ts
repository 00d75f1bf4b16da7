// What figures were measured on: they are worth nothing without it.
import { cpus, release } from 'node:os';

export function machine(): string {
  const all = cpus();
  return `${all.length} × ${all[0]?.model ?? 'CPU'}, Linux ${release()}, Node ${process.version}`;
}
