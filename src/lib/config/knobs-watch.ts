// Knobs read again while the agent runs: a good change is handed on, a broken file leaves
// the last good knobs in force. It knows neither the signal that asks for it nor the loop.
import { InputError } from '../errors.js';
import { knobSchema, makeKnobs, type KnobName, type Knobs } from './knobs.js';
import { effectiveKnobs, type KnobSources } from './load.js';

/** What is laid out once: a change waits for the next start of the agent. */
export const restartKnobs: ReadonlySet<KnobName> = new Set<KnobName>(['slotsPerRoute']);

export interface KnobChange {
  readonly name: KnobName;
  readonly from: number;
  readonly to: number;
}

export interface IgnoredKnob {
  readonly name: KnobName;
  /** A sentence. */
  readonly why: string;
}

export type KnobsReloaded =
  | {
      readonly kind: 'changed';
      readonly knobs: Knobs;
      readonly changes: readonly KnobChange[];
      /** Asked for, but not before a restart; there may be such without any change. */
      readonly ignored: readonly IgnoredKnob[];
    }
  | { readonly kind: 'same' }
  | { readonly kind: 'broken'; readonly problem: InputError };

export class KnobsReload {
  constructor(
    private readonly sources: KnobSources,
    private current: Knobs,
  ) {}

  /** Reads all sources again, at once; to be called between two ticks. */
  reload(): KnobsReloaded {
    try {
      return this.compare();
    } catch (error) {
      if (error instanceof InputError) return { kind: 'broken', problem: error };
      throw error;
    }
  }

  private compare(): KnobsReloaded {
    const { knobs: wanted, origin } = effectiveKnobs(this.sources);
    const changes: KnobChange[] = [];
    const ignored: IgnoredKnob[] = [];
    for (const name of Object.keys(knobSchema) as KnobName[]) {
      const from = this.current[name];
      const to = wanted[name];
      if (to === from) continue;
      if (!restartKnobs.has(name)) changes.push({ name, from, to });
      else {
        const why = `${name} stays ${from} until the agent is restarted, though ${origin[name].where} says ${to}.`;
        ignored.push({ name, why });
      }
    }
    if (changes.length === 0 && ignored.length === 0) return { kind: 'same' };
    // Checked once more: what stays as it was must go together with what changes.
    const kept = Object.fromEntries(ignored.map(({ name }) => [name, this.current[name]]));
    this.current = makeKnobs({ ...wanted, ...kept });
    return { kind: 'changed', knobs: this.current, changes, ignored };
  }
}

/** The outcome as the agent's log tells it. */
export function describeReload(outcome: KnobsReloaded): string {
  switch (outcome.kind) {
    case 'same':
      return 'The knobs were read again: nothing changed.';
    case 'broken':
      return `${outcome.problem.message} The last good knobs stay in force.`;
    case 'changed': {
      const { changes, ignored } = outcome;
      const words = changes.map(({ name, from, to }) => `${name} ${from}→${to}`).join(', ');
      return [
        `The knobs were read again: ${words === '' ? 'nothing changed' : words}.`,
        ...ignored.map(({ why }) => why),
      ].join(' ');
    }
  }
}
