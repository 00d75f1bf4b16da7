// The agent's own connects, over loopback: what each of them meets, and that they are bounded.
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { Dialer } from '../../src/lib/sensors/dialer.js';

const servers: Server[] = [];
const dialers: Dialer[] = [];

/** A listener that counts who came. */
async function listen(port = 0): Promise<{ id: string; server: Server; accepted: () => number }> {
  let accepted = 0;
  const server = createServer((socket) => {
    accepted++;
    socket.on('error', () => undefined);
  });
  servers.push(server);
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it has no port');
  return { id: `127.0.0.1:${address.port}`, server, accepted: () => accepted };
}

const close = (server: Server) =>
  new Promise<void>((done) =>
    server.close(() => {
      done();
    }),
  );

function dialer(): Dialer {
  const made = new Dialer();
  dialers.push(made);
  return made;
}

const until = (holds: () => void) => vi.waitFor(holds, { timeout: 30_000, interval: 10 });

afterEach(async () => {
  for (const one of dialers.splice(0)) one.close();
  await Promise.all(
    servers
      .splice(0)
      .filter(({ listening }) => listening)
      .map(close),
  );
});

describe('the agent’s own connect', () => {
  it('meets a backend that listens, and says nothing before it has', async () => {
    const { id, accepted } = await listen();
    const dials = dialer();
    dials.dialNext(new Set([id]), 0);
    expect(dials.outcome(id)).toBeNull();
    await until(() => {
      expect(dials.outcome(id)).toBe('open');
    });
    await until(() => {
      expect(accepted()).toBe(1);
    });
  });

  it('is refused where nobody listens, and finds out when somebody does', async () => {
    const { id, server } = await listen();
    await close(server);
    const dials = dialer();
    dials.dialNext(new Set([id]), 0);
    await until(() => {
      expect(dials.outcome(id)).toBe('closed');
    });
    await listen(Number(id.split(':')[1]));
    // Too soon to try again.
    dials.dialNext(new Set([id]), 499);
    expect(dials.outcome(id)).toBe('closed');
    dials.dialNext(new Set([id]), 500);
    await until(() => {
      expect(dials.outcome(id)).toBe('open');
    });
  });

  it('takes a backend that does not answer for closed', () => {
    // A second goes by before the network has a chance to say anything.
    const dials = dialer();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      dials.dialNext(new Set(['127.0.0.1:0']), 0);
      vi.advanceTimersByTime(1_000);
      expect(dials.outcome('127.0.0.1:0')).toBe('closed');
    } finally {
      vi.useRealTimers();
    }
  });

  it('is made to each backend twice a second at most', async () => {
    const { id, accepted } = await listen();
    const dials = dialer();
    const due = new Map([
      [0, 1],
      [200, 1],
      [400, 1],
      [600, 2],
      [800, 2],
      [1000, 2],
      [1200, 3],
    ]);
    for (const [nowMs, count] of due) {
      dials.dialNext(new Set([id]), nowMs);
      await until(() => {
        expect(accepted()).toBe(count);
      });
      // The listener may hear of a connect before the one who made it does.
      for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    }
    expect(accepted()).toBe(3);
  });

  it('is forgotten when nobody asks for it any more', async () => {
    const { id } = await listen();
    const dials = dialer();
    dials.dialNext(new Set([id]), 0);
    await until(() => {
      expect(dials.outcome(id)).toBe('open');
    });
    dials.dialNext(new Set(), 100);
    expect(dials.outcome(id)).toBeNull();
    // And may be made again at once.
    dials.dialNext(new Set([id]), 100);
    expect(dials.outcome(id)).toBeNull();
    await until(() => {
      expect(dials.outcome(id)).toBe('open');
    });
  });

  it('is made to 64 backends at a time, and to the others when these are done', async () => {
    const { server, id, accepted } = await listen();
    const port = Number(id.split(':')[1]);
    await close(server);
    const all = await new Promise<Server>((done) => {
      const everywhere = createServer((socket) => socket.on('error', () => undefined));
      servers.push(everywhere);
      everywhere.listen(port, '0.0.0.0', () => {
        done(everywhere);
      });
    });
    let came = 0;
    all.on('connection', () => came++);
    const ids = new Set(Array.from({ length: 100 }, (_, i) => `127.0.1.${i + 1}:${port}`));
    const dials = dialer();
    const open = () => [...ids].filter((one) => dials.outcome(one) === 'open').length;
    dials.dialNext(ids, 0);
    await until(() => {
      expect(open()).toBe(64);
    });
    expect(accepted()).toBe(0);
    await until(() => {
      expect(came).toBe(64);
    });
    dials.dialNext(ids, 1);
    await until(() => {
      expect(open()).toBe(100);
    });
    await until(() => {
      expect(came).toBe(100);
    });
  });
});
