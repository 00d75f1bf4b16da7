// What the kernel sees of each protocol that simulated clients speak: the counters of the
// very programs of a node, after a short run.
import { describe, expect, it } from 'vitest';

import { Agent } from '../../src/lib/agent/agent.js';
import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { ipv4ToNumber } from '../../src/lib/dataplane/ipv4.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import type { Plane } from '../../src/lib/dataplane/plane.js';
import { Snapshot } from '../../src/lib/dataplane/snapshot.js';
import type { RunResult } from '../../src/lib/harness/result.js';
import { simulate } from '../../src/lib/harness/run.js';
import { allHabits } from '../../src/lib/harness/world/habits.js';
import { routeName } from '../../src/lib/routes/route-set.js';
import { scenarioOf } from './worlds.js';

const counted = [
  'picks',
  'established',
  'abandoned',
  'refused',
  'timedOut',
  'unreachable',
  'closed',
  'reset',
  'answered',
  'dropped',
  'unanswered',
] as const;
type Counted = (typeof counted)[number];

interface Seen {
  readonly counts: Readonly<Record<Counted, number>>;
  /** Still open when the run ended, and requests that wait then. */
  readonly open: number;
  readonly waiting: number;
  readonly firstByteMs: number;
  readonly connectMs: number;
  readonly result: RunResult;
}

/** Nearly six seconds of clients. */
function seenOf(clients: string, more = '', duration = '5900ms'): Seen {
  let plane: Plane | undefined;
  const scenario = scenarioOf(`
title: One protocol
duration: ${duration}
backends:
  - { name: pod, count: 2, service: 4ms, path: 1ms }
clients:
${clients}
${more}
`);
  const { result } = simulate({
    scenario,
    policy: 'nity',
    seed: 1,
    sabotage: { maps: (now) => (plane = now) },
  });
  if (plane === undefined) throw new Error('no agent ever ticked');
  const backends = new Snapshot(plane).backends();
  const sum = (of: (backend: (typeof backends)[number]) => number) =>
    backends.reduce((total, backend) => total + of(backend), 0);
  const count = (name: Counted) => sum(({ counters }) => Number(counters[name]));
  return {
    counts: Object.fromEntries(counted.map((name) => [name, count(name)])) as Seen['counts'],
    open: sum(({ open }) => open),
    waiting: sum(({ waiting }) => waiting),
    firstByteMs: sum(({ counters }) => Number(counters.firstByteNs)) / 1e6 / count('answered'),
    connectMs: sum(({ counters }) => Number(counters.connectNs)) / 1e6 / count('established'),
    result,
  };
}

/** Of which 29 come in that time, evenly. */
const five = 'arrivals: even, rate: 5, timeout: 5s';
const all = 29;
const nothing = Object.fromEntries(counted.map((name) => [name, 0])) as Seen['counts'];
const stood = { ...nothing, picks: all, established: all };

describe('the kernel sees', () => {
  it('of a request its answer, and a connection that its client closed', () => {
    const { counts, open, firstByteMs } = seenOf(`  - { ${five} }`);
    expect(counts).toEqual({ ...stood, answered: all, closed: all });
    expect(open).toBe(0);
    // The work, and a trip.
    expect(firstByteMs).toBeCloseTo(5, 3);
  });

  it('of a server that closes no answer, though its clients lack nothing', () => {
    const { counts, result } = seenOf(`  - { speaks: closes, ${five} }`);
    expect(counts).toEqual({ ...stood, dropped: all, closed: all });
    expect(result.total.ends.answered).toBe(all);
  });

  it('of lines that go one way no answer, until their client closes', () => {
    const { counts, waiting, open } = seenOf(`  - { speaks: never, holds: 1s, ${five} }`);
    expect(counts).toMatchObject({ established: all, answered: 0, dropped: 0, reset: 0 });
    // Five a second, a second each.
    expect(waiting).toBe(5);
    expect(open).toBe(5);
    expect(counts.closed).toBe(all - open);
  });

  it('of a half-closed connection the FIN of the backend', () => {
    const { counts, open } = seenOf(`  - { speaks: never, closedBy: backend, holds: 1s, ${five} }`);
    expect(counts).toMatchObject({ established: all, answered: 0, unanswered: 0, reset: 0 });
    expect(counts.closed).toBe(all - open);
  });

  it('of an answer that waits for its event the wait, whatever the load', () => {
    const quick = `  - { name: quick, arrivals: even, rate: 200, timeout: 5s }\n`;
    const polls = `  - { name: polls, speaks: late, service: 2s, ${five} }`;
    const { counts, waiting } = seenOf(polls);
    expect(counts.answered).toBe(all - waiting);
    expect(waiting).toBe(10);
    expect(seenOf(polls).firstByteMs).toBeCloseTo(2001, 3);
    const beside = seenOf(quick + polls, 'phases: { end: { from: 3s, to: 3900ms } }');
    expect(beside.result.phases[0]?.maxMs).toBeCloseTo(2002, 3);
  });

  it('of an upload an answer after its last byte', () => {
    const { counts, waiting, result } = seenOf(`  - { speaks: uploads, sends: 1s, ${five} }`);
    expect(counts).toMatchObject({ established: all, dropped: 0, unanswered: 0, reset: 0 });
    expect(counts.answered).toBe(all - waiting);
    // Twenty sends, 50 ms apart; then the handshake, the work and a trip.
    expect(result.total.p50Ms).toBeCloseTo(950 + 6, 3);
  });

  it('of a pool few connects, and many exchanges', () => {
    const { counts, open } = seenOf('  - { speaks: pool, size: 12, rests: 1s, timeout: 5s }');
    expect(counts).toMatchObject({ picks: 12, established: 12, closed: 0 });
    expect(counts.answered).toBeGreaterThan(12 * 4 - 1);
    expect(open).toBe(12);
  });

  it('of a pool that is not used nothing but its connections', () => {
    const { counts, open } = seenOf('  - { speaks: pool, size: 12, timeout: 5s }');
    expect(counts).toEqual({ ...nothing, picks: 12, established: 12 });
    expect(open).toBe(12);
  });

  it('of a pool that is renewed as many connections, and new ones', () => {
    const { counts, open } = seenOf('  - { speaks: pool, size: 12, lasts: 2s, timeout: 5s }');
    expect(counts.picks).toBeGreaterThan(24);
    expect(counts.closed).toBe(counts.picks - open);
    expect(open).toBeGreaterThan(10);
  });

  it('of a health check a connection without a byte', () => {
    const { counts } = seenOf(`  - { speaks: probe, ${five} }`);
    expect(counts).toEqual({ ...stood, closed: all });
  });

  it('of a client that gives up a close before the answer', () => {
    const { counts, result } = seenOf(`  - { speaks: gives-up, deadline: 3ms, ${five} }`);
    expect(counts).toMatchObject({ established: all, answered: 0, closed: all, reset: 0 });
    expect(result.total.ends.timedOut).toBe(all);
  });

  it('of a client that goes before the handshake ends no connection', () => {
    const { counts } = seenOf(`  - { speaks: gives-up, deadline: 0.5ms, ${five} }`);
    expect(counts).toMatchObject({ picks: all, established: 0, refused: 0, timedOut: 0 });
  });

  it('of a connect without a SYN a pick, and no word of the backend', () => {
    const { counts, open } = seenOf(`  - { speaks: unsent, ${five} }`);
    const { picks, established, refused, timedOut, unreachable, reset } = counts;
    expect({ picks, established, refused, timedOut, unreachable, reset }).toEqual({
      picks: all,
      established: 0,
      refused: 0,
      timedOut: 0,
      unreachable: 0,
      reset: 0,
    });
    expect(open).toBe(0);
  });

  it('of subscribers one exchange, and connections that stay', () => {
    const { counts, open } = seenOf(`  - { speaks: subscribers, holds: 1m, ${five} }`);
    expect(counts).toEqual({ ...stood, answered: all });
    expect(open).toBe(all);
  });

  it('of an error an answer, though its client has none', () => {
    const { counts, firstByteMs, result } = seenOf(
      `  - { ${five} }`,
      'faults: [{ kind: errors, backends: all, from: 0s, to: 6s, service: 2ms }]',
    );
    expect(counts).toEqual({ ...stood, answered: all, closed: all });
    expect(firstByteMs).toBeCloseTo(3, 3);
    expect(result.total.ends.failed).toBe(all);
  });

  it('of a slow dependency all answers later, while nobody waits in line', () => {
    const { firstByteMs } = seenOf(
      `  - { ${five} }`.replace('rate: 5', 'rate: 100'),
      'faults: [{ kind: shared-slow, adds: 100ms, from: 0s, to: 6s }]',
    );
    expect(firstByteMs).toBeCloseTo(105, 3);
  });
});

describe('backends that are down', () => {
  const down = (does: string) =>
    `faults: [{ kind: down, backends: all, from: 1100ms, to: 3100ms, does: ${does} }]`;

  it('refuse, reset what they had, and are back', () => {
    const pool = '  - { name: pool, speaks: pool, size: 10, timeout: 5s, within: 100ms }\n';
    const { counts, open, result } = seenOf(
      `${pool}  - { name: web, ${five} }`,
      `${down('refuse')}\nphases: { back: { from: 5s, to: 6s } }`,
    );
    expect(counts.reset).toBe(10);
    // The ten requests of these two seconds at least; those of the pool come again and again.
    expect(counts.refused).toBeGreaterThanOrEqual(10);
    expect(open).toBe(10);
    expect(result.phases[0]?.ends.answered).toBe(result.phases[0]?.requests);
  });

  it('that vanished leave SYNs without an answer, which are repeated', () => {
    const { counts, connectMs, result } = seenOf(`  - { ${five} }`, down('vanish'));
    expect(counts).toMatchObject({ refused: 0, reset: 0, established: all });
    // A second, or three where the first repetition was lost too.
    expect(result.total.maxMs).toBeCloseTo(3006, 3);
    expect(connectMs).toBeGreaterThan(100);
  });
});

describe('clients of one node', () => {
  const now = 3_600_000_000_000;
  const vip = '127.96.1.1';

  it('are told apart by their network namespace', () => {
    const source = new ModelSource(defaultKnobs);
    source.model.setNowNs(BigInt(now));
    const plane = source.plane();
    const agent = new Agent({ plane, knobs: defaultKnobs, exclusively: (change) => change() });
    agent.serve([
      {
        name: routeName('test/clients', 'tcp'),
        addresses: [{ vip, port: 80, protocol: 'TCP' }],
        backends: [1, 2, 3].map((port) => ({ address: '127.0.0.1', port })),
        affinity: { kind: 'clientIP', timeoutSeconds: 60 },
        gear: 'single',
      },
    ]);
    agent.tick();
    const sockets = source.model.sockets(2);
    sockets.connect(0, now, ipv4ToNumber(vip), 80, 7);
    sockets.connect(1, now, ipv4ToNumber(vip), 80, 8);
    sockets.connect(0, now, ipv4ToNumber(vip), 80, 7);
    // Each client has an affinity of its own.
    expect(plane.handle('affinity').entries().count).toBe(2);
  });

  it('are one for each group, unless they say otherwise', () => {
    const clients = [
      '  - { name: a, rate: 1, timeout: 1s }',
      '  - { name: b, rate: 1, timeout: 1s }',
      '  - { name: c, rate: 1, timeout: 1s, on: 1 }',
    ];
    const scenario = scenarioOf(`
title: Three groups
duration: 2s
backends: [{ name: pod, count: 1, service: 1ms }]
clients:
${clients.join('\n')}
`);
    expect(allHabits(scenario, 1).map(({ client }) => client)).toEqual([1, 2, 1]);
  });
});
