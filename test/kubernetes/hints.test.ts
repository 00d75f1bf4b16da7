// Scale hints: when a Service is said to need replicas, how often that is told, and that of
// all nodes that see it one writes the Event.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { AdmissionMode } from '../../src/lib/field/states.js';
import type { RouteField } from '../../src/lib/field/types.js';
import { ApiError } from '../../src/lib/kubernetes/client.js';
import { EventWriter, type ServiceEvent } from '../../src/lib/kubernetes/events.js';
import { ScaleHints } from '../../src/lib/kubernetes/hints.js';
import { until } from './rig.js';
import { both, Shop } from './shop.js';

const minute = 60_000;

/** As far as hints look at it. */
function route(
  mode: AdmissionMode,
  scaleHint: RouteField['scaleHint'] = null,
  backends = 2,
): RouteField {
  const valve = { mode, goodputPerSecond: 41.6 };
  const parts = { backends: Array(backends), valve, scaleHint };
  return { name: 'shop/cart:http', ...parts } as unknown as RouteField;
}

const kinds = (hints: readonly { readonly kind: string }[]) => hints.map(({ kind }) => kind);

describe('a scale hint', () => {
  it.each([
    ['soft', null, 'soft'],
    ['hard', null, 'hard'],
    ['normal', 'capacity', 'capacity'],
    ['normal', 'monopoly', 'monopoly'],
    // That there is nowhere else to go says more than that the valve closes.
    ['soft', 'monopoly', 'monopoly'],
    // What is refused says more than that less is answered than is asked.
    ['soft', 'capacity', 'soft'],
    ['hard', 'capacity', 'hard'],
  ] as const)('of a route that is %s and %s is %s', (mode, scaleHint, kind) => {
    const hints = new ScaleHints();
    const [told] = hints.see([route(mode, scaleHint)], 0);
    expect(told).toMatchObject({ service: 'shop/cart', route: 'shop/cart:http', kind });
    expect(kinds(hints.current)).toEqual([kind]);
  });

  it.each([
    ['normal', null],
    ['normal', 'empty'],
  ] as const)('is not raised for a route that is %s and %s', (mode, scaleHint) => {
    expect(new ScaleHints().see([route(mode, scaleHint)], 0)).toEqual([]);
  });

  it('stands as long as its cause, and is told once', () => {
    const hints = new ScaleHints();
    expect(kinds(hints.see([route('soft')], 0))).toEqual(['soft']);
    expect(hints.see([route('soft')], 30 * minute)).toEqual([]);
    expect(hints.current).toMatchObject([{ kind: 'soft', sinceMs: 0 }]);
    expect(hints.see([route('normal')], 31 * minute)).toEqual([]);
    expect(hints.current).toEqual([]);
  });

  it('that comes and goes is told again after ten minutes, not before', () => {
    const hints = new ScaleHints();
    const told = [0, 2, 4, 6, 8, 10, 12].map((at) => {
      const fresh = hints.see([route('soft')], at * minute);
      hints.see([route('normal')], (at + 1) * minute);
      return fresh.length;
    });
    expect(told).toEqual([1, 0, 0, 0, 0, 1, 0]);
  });

  it('that gets worse is told at once', () => {
    const hints = new ScaleHints();
    hints.see([route('soft')], 0);
    expect(kinds(hints.see([route('hard')], 200))).toEqual(['hard']);
    expect(hints.current).toMatchObject([{ kind: 'hard', sinceMs: 0 }]);
  });

  it('ends with its route', () => {
    const hints = new ScaleHints();
    hints.see([route('soft')], 0);
    hints.see([], 200);
    expect(hints.current).toEqual([]);
  });
});

describe('Events', () => {
  let posted: { readonly path: string; readonly name: string }[];
  let refusal: Error | undefined;
  let warned: string[];
  let writer: EventWriter;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance', 'Date', 'setTimeout', 'clearTimeout'] });
    vi.setSystemTime(1_800_000_000_000);
    posted = [];
    warned = [];
    refusal = undefined;
    writer = new EventWriter({
      post: (path, body) => {
        const { metadata } = body as { readonly metadata: { readonly name: string } };
        posted.push({ path, name: metadata.name });
        return refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
      },
      node: 'node-a',
      log: { info: () => undefined, warn: (line) => warned.push(line) },
      random: () => 0.5,
      spreadMs: 120_000,
    });
  });

  afterEach(() => {
    writer.close();
    vi.useRealTimers();
  });

  const event = (subject: string): ServiceEvent => ({
    ...{ service: 'shop/cart', uid: 'uid-1', reason: 'NityScaleHint' },
    ...{ message: `${subject}.`, subject },
  });

  it('wait for their part of two minutes, so that nodes do not write together', async () => {
    writer.write(event('soft'));
    await vi.advanceTimersByTimeAsync(59_999);
    expect(posted).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(posted).toMatchObject([{ path: '/api/v1/namespaces/shop/events' }]);
    expect(writer).toMatchObject({ written: 1, dropped: 0 });
  });

  it('are ten at once, then one in ten seconds', async () => {
    for (let i = 0; i < 25; i++) writer.write(event(`hint ${i}`));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(posted).toHaveLength(10);
    await vi.advanceTimersByTimeAsync(50_000);
    expect(posted).toHaveLength(15);
    await vi.advanceTimersByTimeAsync(100_000);
    expect(writer).toMatchObject({ written: 25, dropped: 0 });
    // What was not used of the ten comes back with the time.
    for (let i = 0; i < 25; i++) writer.write(event(`later ${i}`));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(posted.length).toBe(25 + 6);
  });

  it('beyond a hundred that wait are counted and let go', () => {
    for (let i = 0; i < 120; i++) writer.write(event(`hint ${i}`));
    expect(writer.dropped).toBe(20);
  });

  it('have one name for one thing in a quarter of an hour, whoever says it', async () => {
    for (const subject of ['soft', 'soft', 'hard']) writer.write(event(subject));
    await vi.advanceTimersByTimeAsync(120_000);
    const [first, second, other] = posted.map(({ name }) => name);
    expect(first).toMatch(/^cart\.nity-[0-9a-f]{16}$/);
    expect(second).toBe(first);
    expect(other).not.toBe(first);
    await vi.advanceTimersByTimeAsync(900_000);
    writer.write(event('soft'));
    await vi.advanceTimersByTimeAsync(120_000);
    expect(posted[3]?.name).not.toBe(first);
  });

  it('that another node wrote first are neither written nor lost', async () => {
    refusal = new ApiError(409, 'AlreadyExists', 'exists');
    writer.write(event('soft'));
    await vi.advanceTimersByTimeAsync(120_000);
    expect(writer).toMatchObject({ written: 0, dropped: 0 });
    expect(warned).toEqual([]);
  });

  it('that wait are let go when the agent ends', async () => {
    writer.write(event('soft'));
    writer.close();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(posted).toEqual([]);
  });
});

describe('a Service that wants replicas', () => {
  let shop: Shop;

  beforeEach(async () => {
    shop = await Shop.open();
  });

  afterEach(async () => {
    await shop.close();
  });

  it('gets one Event of all nodes that see it, and stands in the status of each', async () => {
    const { server, rig } = shop;
    const nodes = [await rig.open(), await rig.open({ nodeName: 'node-b' })];
    await rig.shows(both);
    await until(() => nodes.every((node) => node.synced));
    for (const node of nodes) node.see([route('normal', 'monopoly', 1)]);
    const posts = () => server.asked.filter(({ method }) => method === 'POST').length;
    await until(() => posts() === 2 && nodes.some((node) => node.status().events.written === 1));
    expect(server.of('events')).toMatchObject([
      {
        involvedObject: { kind: 'Service', namespace: 'shop', name: 'cart', uid: 'uid-2' },
        reason: 'NityScaleHint',
        type: 'Warning',
      },
    ]);
    expect(server.of('events')[0]?.['message']).toMatch(
      /^On node-[ab]: shop\/cart:http is under pressure and has one backend, .*; it answers 42 connects a second\. More replicas may help\.$/,
    );
    for (const node of nodes) {
      expect(node.status().hints).toMatchObject([{ service: 'shop/cart', kind: 'monopoly' }]);
      expect(node.status().events.dropped).toBe(0);
    }
    // What is no Service of the cluster has nobody to be told.
    nodes[0]?.see([{ ...route('soft'), name: 'shop/gone:http' }]);
    await new Promise((passed) => setTimeout(passed, 100));
    expect(posts()).toBe(2);
  });
});
