// liveness: ten seconds after a fault has ended, those whom it struck hold their fair
// share of the slots again, within a tenth of it or a slot.
import type { Held } from '../world/slot-watch.js';
import { backendsNamed, type Fault, type Scenario } from '../scenario.js';
import type { Verdict } from '../invariant.js';
import { Tally } from './tally.js';

const graceMs = 10_000;
const tolerance = 0.1;

const words = {
  says: ({ seen }: { seen: number }) =>
    `Ten seconds after its fault a backend is ${Math.round(seen * 100)} % off its fair share of slots.`,
};

/** Faults that strike backends and end, with ten quiet seconds after them. */
function endings({ faults, duration, backends }: Scenario): Fault[] {
  // What is fair is only plain among equals.
  const kinds = backends.map(({ concurrency, queue, service, path }) =>
    JSON.stringify([concurrency, queue, service, path]),
  );
  if (new Set(kinds).size > 1) return [];
  return faults.filter(
    ({ kind, to }) =>
      (kind === 'refuse' || kind === 'slow' || kind === 'hang') &&
      to + graceMs <= duration &&
      faults.every((other) => other.to <= to || other.from > to + graceMs),
  );
}

export class LivenessWatch {
  private readonly tally = new Tally('liveness');

  /** Looks when the time has come; `at` calls back, `held` says who holds what. */
  constructor(
    scenario: Scenario,
    at: (ms: number, look: () => void) => void,
    held: () => Held | null,
  ) {
    for (const fault of endings(scenario)) {
      const struck = 'backends' in fault ? (backendsNamed(scenario, fault.backends) ?? []) : [];
      at(fault.to + graceMs, () => {
        this.look(struck, fault.to + graceMs, held());
      });
    }
  }

  private look(struck: readonly number[], atMs: number, held: Held | null): void {
    if (held === null) return;
    const fair = held.slots.reduce((sum, count) => sum + count, 0) / held.slots.length;
    for (const place of struck) {
      const off = Math.abs((held.slots[place] ?? 0) - fair) / fair;
      const limit = Math.max(tolerance, 1 / fair);
      const sight = { seen: off, limit, backend: `backend ${place}` };
      this.tally.note(sight, { sequence: 0, atMs }, '', words);
    }
  }

  verdict(): Verdict {
    return this.tally.verdict();
  }
}
