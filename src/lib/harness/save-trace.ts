// A simulated run as traces that `nity replay` opens: one file for each node's agent.
import { TraceFileWriter } from '../recorder/trace-file.js';
import { runSeed } from './compare.js';
import type { Scenario } from './scenario.js';

/** Runs it once more, which comes to the same, and returns the files it wrote. */
export function saveTrace(scenario: Scenario, seed: number, path: string): string[] {
  const writers = new Map<number, { readonly path: string; readonly writer: TraceFileWriter }>();
  const writerOf = (node: number): TraceFileWriter => {
    const known = writers.get(node);
    if (known !== undefined) return known.writer;
    const own = scenario.nodes === 1 ? path : path.replace(/(\.trace)?$/, `-node-${node}.trace`);
    const writer = new TraceFileWriter(own, { run: `${scenario.name}, seed ${seed}`, node });
    writers.set(node, { path: own, writer });
    return writer;
  };
  runSeed(scenario, ['nity'], seed, (policy) =>
    policy === 'nity'
      ? {
          onTick: (node, _nowMs, tick) => {
            writerOf(node).see(tick);
          },
        }
      : {},
  );
  for (const { writer } of writers.values()) writer.close();
  return [...writers.values()].map((each) => each.path);
}
