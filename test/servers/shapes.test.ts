// Everyday traffic on plain TCP servers that are all healthy: nobody is refused, no backend is
// starved or isolated, whatever the protocol does. All shapes are played on one agent, several at
// a time, each on a service of its own.
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, it, type ExpectStatic } from 'vitest';

import { unavailable } from '../kernel/rig.js';
import { requests as r } from './orders.js';
import { Backends } from './backends.js';
import { ask, atRandomTimes, dialVip, send, Tally } from './client.js';
import { isolated, unfairShares, unfairTo } from './judge.js';
import { Stage, type Service } from './stage.js';

const seconds = 14;
const idlePool = 57;

interface Played {
  readonly service: Service;
  readonly backends: Backends;
  /** What may not have happened, and did. */
  readonly complaints: string[];
}

interface Shape {
  readonly what: string;
  readonly backends?: number;
  /** The most that a share may be, in multiples of the fair one. */
  readonly most?: number;
  /** Whether the shares of all connects since the start are to be fair: not where they began so late. */
  readonly judgeShares?: boolean;
  readonly play: (played: Played) => Promise<void>;
}

/** Requests that are answered, by backends of the right service. */
async function good(
  { service, complaints }: Played,
  perSecond: number,
  lasting = seconds,
): Promise<Tally> {
  const tally = new Tally();
  await atRandomTimes(perSecond, lasting, async () => {
    tally.add(await ask(service.vip, r['answer-and-end']));
  });
  complaints.push(
    ...tally.unexpected(
      'good requests',
      service.backends.map(({ name }) => name),
    ),
  );
  return tally;
}

/** Connects that all end in one of `expected`. */
async function others(
  { complaints }: Played,
  what: string,
  perSecond: number,
  expected: readonly string[],
  once: () => Promise<string>,
): Promise<void> {
  const tally = new Tally();
  await atRandomTimes(perSecond, seconds, async () => {
    tally.add(await once());
  });
  complaints.push(...tally.unexpected(what, expected));
}

const names = ({ service }: Played) => service.backends.map(({ name }) => name);

/** Connections that were used once and are kept. */
async function openPool({ service }: Played): Promise<readonly Socket[]> {
  const pool = Array.from({ length: idlePool }, () => dialVip(service.vip));
  for (const socket of pool) {
    socket.resume();
    socket.write(r['answer-at-once']);
    await sleep(10);
  }
  return pool;
}

const shapes: readonly Shape[] = [
  {
    what: 'requests that are answered',
    play: async (played) => {
      await good(played, 60);
    },
  },
  {
    what: 'one way: lines that nobody answers',
    play: (played) =>
      others(played, 'lines', 45, ['sent'], () =>
        send(played.service.vip, `${r['never-answer']}line\n`, 1000),
      ),
  },
  {
    what: 'many requests that the server ends without an answer',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'dropped', 24, ['EOF'], () =>
          ask(played.service.vip, r['end-without-answer']),
        ),
      ]);
    },
  },
  {
    what: 'a few requests that the server ends without an answer',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'dropped', 6, ['EOF'], () =>
          ask(played.service.vip, r['end-without-answer']),
        ),
      ]);
    },
  },
  {
    what: 'commands without a reply beside requests',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'commands', 24, ['sent'], () =>
          send(played.service.vip, `${r['never-answer']}set\n`, 500),
        ),
      ]);
    },
  },
  {
    what: 'requests that block for seconds beside quick ones',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'blocking', 5, names(played), () =>
          ask(played.service.vip, r['answer-after-4-s-and-end']),
        ),
      ]);
    },
  },
  {
    what: 'a long poll and nothing else',
    play: (played) =>
      others(played, 'polls', 45, names(played), () =>
        ask(played.service.vip, r['answer-after-4-s-and-end']),
      ),
  },
  {
    what: 'an idle pool beside requests',
    play: async (played) => {
      const pool = await openPool(played);
      await good(played, 60);
      for (const socket of pool) socket.destroy();
    },
  },
  {
    what: 'clients that give up before the answer',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'given up', 15, ['sent'], () =>
          send(played.service.vip, r['answer-after-1-s'], 100),
        ),
      ]);
    },
  },
  {
    what: 'uploads that last for seconds',
    play: async (played) => {
      await Promise.all([
        good(played, 30),
        others(played, 'uploads', 30, names(played), () => upload(played.service.vip)),
      ]);
    },
  },
  {
    what: 'half-close: the client ends its side, then waits',
    play: async (played) => {
      await Promise.all([
        good(played, 30),
        others(played, 'half-closed', 25, names(played), () =>
          ask(played.service.vip, `${r['answer-at-end-of-input']}body`, { halfClose: true }),
        ),
        others(played, 'half-closed after one way', 10, ['EOF'], () =>
          ask(played.service.vip, `${r['never-answer']}line\n`, { halfClose: true }),
        ),
      ]);
    },
  },
  {
    what: 'connections that are opened and not used',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'unused for 250 ms', 15, ['sent'], () => send(played.service.vip, '', 250)),
        others(played, 'unused', 5, ['sent'], () => send(played.service.vip, '', 0)),
      ]);
    },
  },
  {
    what: 'health checks that connect and close beside few requests',
    play: async (played) => {
      await Promise.all([
        good(played, 15),
        others(played, 'checks', 40, ['sent'], () => send(played.service.vip, '', 0)),
      ]);
    },
  },
  {
    what: 'health checks and nothing else',
    play: (played) => others(played, 'checks', 45, ['sent'], () => send(played.service.vip, '', 0)),
  },
  {
    what: 'deadlines shorter than the work: every client gives up',
    play: (played) =>
      others(played, 'given up', 45, ['sent'], () =>
        send(played.service.vip, r['answer-after-1-s'], 100),
      ),
  },
  {
    what: 'garbage at which the server resets the connection, beside requests',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'reset', 10, ['ECONNRESET'], () =>
          ask(played.service.vip, r['reset-the-connection']),
        ),
      ]);
    },
  },
  {
    what: 'clients that reset their connections, beside requests',
    play: async (played) => {
      await Promise.all([
        good(played, 45),
        others(played, 'resetting', 15, ['sent'], () => sendAndReset(played.service.vip)),
      ]);
    },
  },
  {
    what: 'one request in ten takes a second',
    play: async (played) => {
      const request = () =>
        Math.random() < 0.1
          ? ask(played.service.vip, r['answer-after-1-s'], { whole: 'first-bytes' })
          : ask(played.service.vip, r['answer-and-end']);
      await others(played, 'requests', 60, names(played), request);
    },
  },
  {
    what: 'sixty connects at once every two seconds',
    play: async (played) => {
      const tally = new Tally();
      for (let second = 0; second < seconds; second += 2) {
        const burst = Array.from({ length: 60 }, () =>
          ask(played.service.vip, r['answer-and-end']),
        );
        for (const answer of await Promise.all(burst)) tally.add(answer);
        await sleep(2000);
      }
      played.complaints.push(...tally.unexpected('burst', names(played)));
    },
  },
  {
    what: 'servers that speak first',
    play: async (played) => {
      await played.backends.order(names(played).map((name) => ({ kind: 'greet', name })));
      await others(played, 'greeted', 50, names(played), () => ask(played.service.vip, ''));
    },
  },
  {
    what: 'connections that live for seconds and exchange pings, beside requests',
    play: async (played) => {
      await Promise.all([
        good(played, 40),
        others(played, 'pinged', 12, names(played), () => ping(played.service.vip)),
      ]);
    },
  },
  {
    what: 'a backend whose answers are quick because they are errors',
    most: 1.2,
    play: async (played) => {
      const delays = played.service.backends.map(({ name }, i) => ({
        kind: 'delay' as const,
        name,
        ms: i === 0 ? 0 : 30,
      }));
      await played.backends.order(delays);
      await good(played, 80);
    },
  },
  {
    what: 'a pool whose backend restarts and has no connections',
    judgeShares: false,
    play: async (played) => {
      const pool = await openPool(played);
      await good(played, 30, 2);
      const [first] = played.service.backends;
      if (first === undefined) throw new Error('there is no backend');
      await played.backends.order([
        { kind: 'down', name: first.name },
        { kind: 'listen', ...first },
      ]);
      // The restart may cost what it costs: it is over now.
      await sleep(200);
      const tally = await good(played, 60);
      const answered = new Map(names(played).map((name) => [name, tally.answers.get(name) ?? 0]));
      played.complaints.push(...unfairShares('after the restart', answered));
      for (const socket of pool) socket.destroy();
    },
  },
  {
    what: 'all backends slower at once, as when what they share is slow',
    backends: 6,
    play: async (played) => {
      const delay = (ms: number) =>
        played.backends.order(names(played).map((name) => ({ kind: 'delay', name, ms })));
      await delay(0.5);
      await Promise.all([good(played, 50), sleep(4000).then(() => delay(400))]);
    },
  },
  {
    what: 'all backends down for 5 s, and back',
    judgeShares: false,
    play: async (played) => {
      await good(played, 40, 3);
      const { service, backends } = played;
      await backends.order(service.backends.map(({ name }) => ({ kind: 'down', name })));
      // They are refused by the backends themselves.
      await atRandomTimes(40, 5, () => ask(service.vip, r['answer-and-end']));
      await backends.order(service.backends.map((one) => ({ kind: 'listen', ...one })));
      await sleep(1000);
      await good(played, 40, 8);
    },
  },
];

/** Five pings, a second apart; the answer is the name that all of them were answered with. */
async function ping(vip: string): Promise<string> {
  const socket = dialVip(vip);
  const heard: string[] = [];
  let failed: string | undefined;
  socket.on('data', (bytes) => heard.push(bytes.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    failed = error.code ?? 'UNKNOWN';
  });
  for (let i = 0; i < 5 && failed === undefined; i++) {
    socket.write(r['answer-at-once']);
    await sleep(1000);
  }
  socket.destroy();
  return failed ?? ([...new Set(heard)].join(' and ') || 'silence');
}

function sendAndReset(vip: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = dialVip(vip);
    socket.on('connect', () => {
      socket.write(r['answer-and-end']);
      socket.resetAndDestroy();
      resolve('sent');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? 'UNKNOWN');
    });
  });
}

/** For 2 s the client sends, then it is answered. */
async function upload(vip: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = dialVip(vip);
    let parts = 0;
    socket.write(r['answer-at-newline']);
    const timer = setInterval(() => {
      socket.write(++parts === 10 ? '\n' : 'part'.repeat(100));
      if (parts === 10) clearInterval(timer);
    }, 200);
    const settle = (said: string) => {
      clearInterval(timer);
      resolve(said);
      socket.destroy();
    };
    socket.on('data', (bytes) => {
      settle(bytes.toString());
    });
    socket.on('end', () => {
      settle('EOF');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      settle(error.code ?? 'UNKNOWN');
    });
  });
}

describe.skipIf(unavailable !== undefined)('everyday traffic', () => {
  let stage: Stage | undefined;
  let backends: Backends | undefined;
  const services: Service[] = [];

  beforeAll(async () => {
    backends = new Backends();
    for (const [i, shape] of shapes.entries()) {
      const wanted = Array.from({ length: shape.backends ?? 4 }, (_, b) => ({
        name: `shape-${i}-b${b}`,
        port: 0,
      }));
      const listening = await backends.listen(wanted);
      services.push({ name: `shape-${i}`, vip: `127.96.203.${i + 1}`, backends: listening });
    }
    stage = new Stage();
    await stage.serve(services);
    stage.enter();
  });

  afterAll(async () => {
    await backends?.close();
    await stage?.close();
  });

  async function play(shape: Shape, i: number, expect: ExpectStatic): Promise<void> {
    const service = services[i];
    if (!stage || !backends || !service) throw new Error('there is no stage');
    const complaints: string[] = [];
    await shape.play({ service, backends, complaints });
    const states = await stage.backends(service);
    complaints.push(
      ...(shape.judgeShares === false ? isolated(states) : unfairTo(states, shape.most)),
    );
    expect(complaints, stage.valveLog()).toEqual([]);
  }

  for (const [i, shape] of shapes.entries()) {
    it.concurrent(shape.what, ({ expect }) => play(shape, i, expect));
  }
});
