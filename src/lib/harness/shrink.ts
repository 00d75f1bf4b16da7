// The smallest scenario that still fails as a given one does: whatever can be left out
// or halved is, as long as the same limit or invariant breaks (delta debugging, Zeller
// and Hildebrandt 2002, over the parts of a scenario's text).
import { parse, stringify } from 'yaml';

import { failuresOf, runSeed } from './compare.js';
import { parseScenario } from './scenario.js';

type Raw = Record<string, unknown>;

export interface Shrunk {
  readonly text: string;
  /** What still breaks. */
  readonly failure: string;
  /** Runs that it took, and reductions that held. */
  readonly tries: number;
  readonly reductions: number;
}

const triesMost = 120;

function failureOf(text: string, file: string, seed: number, sought?: string): string | undefined {
  const read = parseScenario(text, file);
  if (!read.ok) return undefined;
  const ours = runSeed(read.scenario, ['nity'], seed).find(({ policy }) => policy === 'nity');
  const failures = ours === undefined ? [] : failuresOf(ours);
  return sought === undefined ? failures[0] : failures.find((failure) => failure === sought);
}

const secondsOf = (text: unknown): number | undefined => {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(String(text)) ?? [];
  const scale = { ms: 0.001, s: 1, m: 60, h: 3600 }[unit ?? ''];
  return amount === undefined || scale === undefined ? undefined : Number(amount) * scale;
};

function without(raw: Raw, list: string, i: number): Raw {
  return { ...raw, [list]: (raw[list] as unknown[]).filter((_, k) => k !== i) };
}

/** Each a little smaller, the boldest first. */
function* smaller(raw: Raw): Generator<Raw> {
  for (const list of ['faults', 'limits']) {
    const items = Array.isArray(raw[list]) ? (raw[list] as unknown[]) : [];
    for (let i = items.length - 1; i >= 0; i--) yield without(raw, list, i);
  }
  const seconds = secondsOf(raw['duration']) ?? 0;
  for (const part of [0.5, 0.75, 0.9]) {
    if (seconds * part >= 1) yield { ...raw, duration: `${Math.ceil(seconds * part)}s` };
  }
  for (const key of ['nodes', 'services']) {
    if (typeof raw[key] === 'number' && raw[key] > 1) yield { ...raw, [key]: 1 };
  }
  const groups = Array.isArray(raw['backends']) ? (raw['backends'] as Raw[]) : [];
  for (const [i, group] of groups.entries()) {
    const count = Number(group['count']);
    if (groups.length > 1) yield without(raw, 'backends', i);
    for (const less of [Math.floor(count / 2), count - 1]) {
      if (less < 1 || less >= count) continue;
      yield {
        ...raw,
        backends: groups.map((each, k) => (k === i ? { ...each, count: less } : each)),
      };
    }
  }
  const listed = Array.isArray(raw['clients']);
  const clients = [raw['clients']].flat() as Raw[];
  for (const [i, group] of clients.entries()) {
    if (clients.length > 1) yield without(raw, 'clients', i);
    const changed = (change: Raw): Raw => {
      const less = clients.map((each, k) => (k === i ? { ...each, ...change } : each));
      return { ...raw, clients: listed ? less : less[0] };
    };
    const { rate, size, retries } = group;
    if (typeof rate === 'number' && rate > 10) yield changed({ rate: Math.floor(rate / 2) });
    if (typeof size === 'number' && size > 1) yield changed({ size: Math.floor(size / 2) });
    if (Number(retries ?? 0) > 0) yield changed({ retries: 0 });
  }
}

/** Undefined if the scenario does not fail with this seed. */
export function shrink(
  text: string,
  file: string,
  seed: number,
  onTry?: (tries: number, reductions: number) => void,
): Shrunk | undefined {
  const failure = failureOf(text, file, seed);
  if (failure === undefined) return undefined;
  // What only describes is not needed to fail.
  let best: Raw = { ...(parse(text) as Raw), phases: {}, policies: ['nity'] };
  let tries = 0;
  let reductions = 0;
  for (let progress = true; progress && tries < triesMost;) {
    progress = false;
    for (const candidate of smaller(best)) {
      if (tries >= triesMost) break;
      tries++;
      onTry?.(tries, reductions);
      if (failureOf(stringify(candidate), file, seed, failure) === undefined) continue;
      best = candidate;
      reductions++;
      progress = true;
      break;
    }
  }
  return { text: stringify(best), failure, tries, reductions };
}
