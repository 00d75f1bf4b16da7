// Maps that contradict themselves, and an allocator that is wrong: the kernel refuses what it
// cannot trust, and a new agent serves what it is told, whatever it found.
import { beforeEach, describe, expect, it } from 'vitest';

import { Health } from '../../src/lib/agent/health.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { BackendState } from '../../src/lib/dataplane/abi.js';
import { fieldFaults } from '../../src/lib/dataplane/field-faults.js';
import { rangeOf, rangeWord, tableOf } from '../../src/lib/dataplane/plane.js';
import { Node, route, type Answer } from './node.js';

const a = route('a', [8001, 8002], ['127.96.0.1']);
const b = route('b', [8101, 8102], ['127.96.0.2']);
const healthy = route('healthy', [8201, 8202], ['127.96.0.3']);
const all = [a, b, healthy];

describe('a damaged dataplane', () => {
  let node: Node;
  const entryOf = ({ name }: { readonly name: string }) => {
    const entry = [...node.agent.projector.book.routes.values()].find((one) => one.name === name);
    if (entry === undefined) throw new Error(`${name} is not served`);
    return entry;
  };
  const table = () => tableOf(node.plane.word('epoch'));
  const slotsOf = (of: typeof a) => {
    const { base, size } = rangeOf(
      node.plane.rtControl.get(entryOf(of).index, 'slotRange')[table()] ?? 0n,
    );
    return node.plane.slotTables[table()].subarray(base, base + size);
  };
  /** No connect to one service's address may reach another's backend. */
  const refusesOrServes = () => {
    for (const [vip, own] of [
      ['127.96.0.1', [8001, 8002]],
      ['127.96.0.2', [8101, 8102]],
      ['127.96.0.3', [8201, 8202]],
    ] as const) {
      const allowed: Answer[] = [...own, 'refused'];
      expect(allowed).toEqual(expect.arrayContaining(node.answers(vip)));
    }
  };
  /** A new agent, and all is well in two ticks, with the healthy service served throughout. */
  const recovers = (found: RegExp | undefined) => {
    refusesOrServes();
    const before = slotsOf(healthy).slice();
    const agent = node.appoint();
    if (found === undefined) expect(agent.projector.damage).toEqual([]);
    else expect(agent.projector.damage.join(' ')).toMatch(found);
    refusesOrServes();
    agent.serve(all);
    refusesOrServes();
    expect(node.answers('127.96.0.3')).toEqual([8201, 8202]);
    expect(node.tick().violations).toEqual([]);
    expect(slotsOf(healthy)).toEqual(before);
    node.tick();
    expect(node.answers('127.96.0.1')).toEqual([8001, 8002]);
    expect(node.answers('127.96.0.2')).toEqual([8101, 8102]);
    // What was abandoned leaves both tables, and then the maps.
    node.tick(3);
    expect(fieldFaults(node.plane, table())).toEqual({
      retired: [],
      astray: [],
      ranges: [],
      fallbacks: [],
      miscounted: 0,
      addresses: [],
    });
    expect(agent.projector.book.abandoned).toEqual([]);
  };

  beforeEach(() => {
    node = new Node();
    node.agent.serve(all);
    node.tick(3);
  });

  it('with slots of another route’s backends', () => {
    const foreign = [...entryOf(b).backends.values()].map(({ index }) => index);
    slotsOf(a).forEach((_, i, slots) => {
      slots[i] = foreign[i % foreign.length] ?? 0;
    });
    expect(node.answers('127.96.0.1')).toEqual(['refused']);
    recovers(/slots of shop\/a:http were not its own/);
  });

  it('with ranges that overlap', () => {
    const { plane } = node;
    const { slotRange, fallbackRange } = plane.rtControl.read(entryOf(b).index);
    plane.rtControl.write(entryOf(a).index, { slotRange, fallbackRange });
    recovers(/slots of shop\/a:http were not its own.* fallback set of shop\/a:http/);
  });

  it('with a range that is outside the table', () => {
    const range = rangeWord({ base: node.plane.slotTables[0].length, size: 64 });
    node.plane.rtControl.write(entryOf(a).index, { slotRange: [range, range] });
    recovers(/slots of shop\/a:http were not its own/);
  });

  it('with a route that is there twice', () => {
    node.plane.routeNames.write(entryOf(b).index, { name: a.name });
    recovers(/shop\/a:http was in the maps twice/);
  });

  it('with the handle of another route', () => {
    const { rtControl } = node.plane;
    rtControl.write(entryOf(a).index, { handle: rtControl.get(entryOf(b).index, 'handle') });
    expect(node.answers('127.96.0.1')).toEqual(['refused']);
    recovers(/shop\/a:http had the handle of another/);
  });

  it('with backends of no route, and one that is there twice', () => {
    const { backends } = node.plane;
    const [first, second] = [...entryOf(a).backends.values()].map(({ index }) => index);
    const [stray] = [...entryOf(b).backends.values()].map(({ index }) => index);
    backends.write(second ?? 0, { port: backends.get(first ?? 0, 'port') });
    backends.write(stray ?? 0, { route: 0 });
    recovers(
      /1 backends were of no route.*|127\.0\.0\.1:8001 of shop\/a:http was in the maps twice/,
    );
  });

  it('with an address of a route that is gone', () => {
    const entry = entryOf(a);
    node.plane.routeNames.clear(entry.index);
    recovers(/2 backends were of no route/);
  });

  it('with an allocator that gives one index to two routes and one to two backends', () => {
    const { book } = node.agent.projector;
    const index = entryOf(a).index;
    const backend = [...entryOf(a).backends.values()][0]?.index ?? 0;
    book.routeIndexes.allocate = () => index;
    book.backendIndexes.allocate = () => backend;
    const late = route('late', [8301], ['127.96.0.4']);
    node.agent.serve([...all, late]);
    node.tick(3);
    // The address of the first holder leads to the index of the second, under another handle.
    expect(node.answers('127.96.0.1')).toEqual(['refused']);
    expect(['refused', 8301]).toEqual(expect.arrayContaining(node.answers('127.96.0.4')));
    node.appoint();
    node.agent.serve([...all, late]);
    node.tick(3);
    expect(node.answers('127.96.0.1')).toEqual([8001, 8002]);
    expect(node.answers('127.96.0.4')).toEqual([8301]);
  });
});

describe('a book that contradicts itself', () => {
  it('projects nothing more, says why, and fails livez after ten seconds; the next agent serves', () => {
    const node = new Node();
    const health = new Health(node.nowMs, defaultKnobs);
    const tick = () => {
      const last = node.tick();
      health.see(last, node.nowMs, true);
      return last.outcome;
    };
    node.agent.serve(all);
    tick();
    const { book } = node.agent.projector;
    const backend = [...(book.routes.get(a.name)?.backends.values() ?? [])][0]?.index ?? 0;
    // Given back behind the book's back: when it really leaves, that shows.
    book.backendIndexes.release(backend, 0n);
    node.agent.serve([b, healthy]);
    const outcomes = Array.from({ length: 60 }, tick);
    const why = `The backend index ${backend} is free, and cannot become resting.`;
    expect(outcomes.at(-1)).toEqual({ kind: 'unsafe', why });
    const { ok, why: told } = health.ask('liveness', node.nowMs);
    expect(ok).toBe(false);
    expect(told.join(' ')).toContain(why);
    node.appoint();
    node.agent.serve([b, healthy]);
    expect(node.tick(2).outcome.kind).not.toBe('unsafe');
    expect(node.answers('127.96.0.2')).toEqual([8101, 8102]);
    expect(node.dial('127.96.0.1')).toBe('untranslated');
    const names = Array.from({ length: 8 }, (_, i) =>
      node.plane.backends.get(i + 1, 'state') === BackendState.healthy ? 1 : 0,
    );
    expect(names.filter((one) => one === 1)).toHaveLength(4);
  });
});
