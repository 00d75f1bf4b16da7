// Measures what a tick of the control loop costs: signals of every backend, the
// law, and the projection, over plain memory in place of the kernel's. Garbage
// collection is counted too.
//
//   npm run build:ts && npx tsx bench/tick.ts [--json] [--quick]
import { constants, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';

import type { Agent as AgentClass } from '../src/lib/agent/agent.js';
import type { Knobs } from '../src/lib/config/knobs.js';
import type { ModelSource as ModelSourceClass } from '../src/lib/dataplane/model-source.js';
import type { Plane } from '../src/lib/dataplane/plane.js';
import { routeName, type Route } from '../src/lib/routes/route-set.js';
import { seeded } from '../test/field/world.js';
import { built } from './built.js';
import { machine } from './machine.js';
import { atMost, head, row, table } from './report.js';
import { series, type Series } from './statistics.js';

const { Agent } = await built<{ Agent: typeof AgentClass }>('agent/agent');
const { defaultKnobs } = await built<{ defaultKnobs: Knobs }>('config/knobs');
const { ModelSource } = await built<{ ModelSource: typeof ModelSourceClass }>(
  'dataplane/model-source',
);

const quick = process.argv.includes('--quick');
/** Which part of the routes has traffic on every backend in every tick; the others rest. */
const cases = [
  { routes: 1_000, backends: 10, busy: 0, ticks: quick ? 100 : 1000 },
  { routes: 1_000, backends: 10, busy: 0.1, ticks: quick ? 100 : 1000 },
  { routes: 1_000, backends: 10, busy: 1, ticks: quick ? 100 : 1000 },
  { routes: 10_000, backends: 10, busy: 0.01, ticks: quick ? 50 : 300 },
  { routes: 10_000, backends: 10, busy: 1, ticks: quick ? 20 : 100 },
] as const;

interface Measured {
  readonly routes: number;
  readonly backends: number;
  readonly busy: number;
  readonly tickMs: Series;
  /** The longest of each kind of pause; major ones stop everything the longest. */
  readonly gcMs: { readonly minor: number; readonly major: number };
}

function routesOf(count: number, backends: number): Route[] {
  return Array.from({ length: count }, (_, i) => ({
    name: routeName(`bench/service-${i}`, 'http'),
    addresses: [{ vip: `127.96.${i >> 8}.${i & 255}`, port: 80, protocol: 'TCP' }],
    backends: Array.from({ length: backends }, (_, b) => ({
      address: `10.${b}.${i >> 8}.${i & 255}`,
      port: 8080,
    })),
    affinity: { kind: 'none' },
    gear: 'auto',
  }));
}

/** What the kernel would have counted in 200 ms of 20 requests a second and backend. */
class Traffic {
  private readonly random = seeded(1);
  private readonly words: Uint32Array;
  private readonly stride: number;
  private readonly at: Readonly<Record<'picks' | 'established' | 'connectNs' | 'answered', number>>;
  private readonly histogram: number;

  constructor({ backendCounters: counters }: Plane) {
    this.words = new Uint32Array(counters.buffer);
    this.stride = counters.codec.size / 4;
    const word = (field: Parameters<typeof counters.codec.place>[0]) =>
      counters.codec.place(field).offset / 4;
    this.at = {
      picks: word('picks'),
      established: word('established'),
      connectNs: word('connectNs'),
      answered: word('answered'),
    };
    this.histogram = word('firstByteHistogram');
  }

  pass(indexes: readonly number[]): void {
    const add = (at: number, n: number) => {
      this.words[at] = (this.words[at] ?? 0) + n;
    };
    for (const index of indexes) {
      const base = index * this.stride;
      const requests = 3 + Math.floor(this.random() * 3);
      add(base + this.at.picks, requests);
      add(base + this.at.established, requests);
      add(base + this.at.connectNs, requests * 60_000);
      add(base + this.at.answered, requests);
      for (let i = 0; i < requests; i++) {
        add(base + this.histogram + 20 + Math.floor(this.random() * 8), 1);
      }
    }
  }
}

async function measure({
  routes,
  backends,
  busy,
  ticks,
}: (typeof cases)[number]): Promise<Measured> {
  const source = new ModelSource(defaultKnobs, {
    slots: routes * 256,
    routes: routes + 64,
    backends: routes * backends + 64,
    addresses: routes + 64,
    flows: 64,
  });
  const plane = source.plane();
  let nowNs = 3_600_000_000_000n;
  source.model.setNowNs(nowNs);
  const agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
  agent.serve(routesOf(routes, backends));
  const indexes = agent.backendIndexes().slice(0, routes * backends * busy);
  const traffic = new Traffic(plane);
  const gcMs = { minor: 0, major: 0 };
  const tickMs: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind } = (entry as PerformanceEntry & { detail: { kind: number } }).detail;
      const which = kind === constants.NODE_PERFORMANCE_GC_MAJOR ? 'major' : 'minor';
      gcMs[which] = Math.max(gcMs[which], entry.duration);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  const warmUp = Math.ceil(ticks / 10);
  for (let tick = 0; tick < ticks + warmUp; tick++) {
    traffic.pass(indexes);
    nowNs += 200_000_000n;
    source.model.setNowNs(nowNs);
    const before = performance.now();
    agent.tick();
    if (tick >= warmUp) tickMs.push(performance.now() - before);
    // As between two real ticks; the observer is told of collections then.
    await setImmediate();
  }
  observer.disconnect();
  plane.close();
  return { routes, backends, busy, tickMs: series(tickMs), gcMs };
}

const measured: Measured[] = [];
for (const one of cases) {
  process.stderr.write(
    `${one.routes} routes of ${one.backends} backends, ${one.busy * 100} % busy\n`,
  );
  measured.push(await measure(one));
}
const text = [
  machine(),
  '',
  'One tick, in ms (the target is for p99)',
  '',
  table([
    [...head.slice(0, 5), 'target (p99)', 'met', 'longest GC, minor', 'major'],
    ...measured.map(({ routes, backends, busy, tickMs, gcMs }) => {
      const target = routes === 1_000 ? atMost(20) : undefined;
      const [what = '', ...cells] = row(
        `${routes.toLocaleString('en')} routes × ${backends} backends, ${busy * 100} % busy`,
        tickMs,
        2,
      );
      return [
        what,
        ...cells.slice(0, 4),
        target?.text ?? '',
        target === undefined ? '' : target.met(tickMs.p99) ? 'yes' : 'no',
        gcMs.minor.toFixed(1),
        gcMs.major.toFixed(1),
      ];
    }),
  ]),
].join('\n');
console.log(process.argv.includes('--json') ? JSON.stringify(measured, null, 1) : text);
