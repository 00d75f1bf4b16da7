// Summaries of applications over a real socket: what is kept and for how long, what is
// answered to a sender in the wrong, and that no sender can harm the agent.
import fc from 'fast-check';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { InputError, UnsafeError } from '../../src/lib/errors.js';
import {
  AppSummaries,
  appSummaryLimits,
  type AppSummariesOptions,
} from '../../src/lib/sensors/app-summaries.js';

const route = 'shop/cart:http';
const backend = '127.0.0.1:21001';
const good = { route, backend, latencyP95Ms: 12.5, errorRate: 0.01, queueDepth: 3 };

/** For tests of something else than the rate. */
const unhurried = { linesPerSecond: 1e9, allLinesPerSecond: 1e9 };

let directory: string;
let path: string;
let summaries: AppSummaries | undefined;
let clients: Client[];
let nowMs: number;

/** An application: sends, and remembers what it was told. */
class Client {
  heard = '';
  closed = false;
  private readonly socket: Socket;

  constructor(to: string) {
    this.socket = connect(to);
    this.socket.on('data', (bytes) => (this.heard += bytes.toString()));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.closed = true));
    clients.push(this);
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  say(value: unknown): void {
    this.send(`${JSON.stringify(value)}\n`);
  }

  end(bytes: string): void {
    this.socket.end(bytes);
  }

  stopReading(): void {
    this.socket.pause();
  }

  readOn(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }

  get answers(): { error: string; hint: string }[] {
    return this.heard
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { error: string; hint: string });
  }
}

async function listen(options: Partial<AppSummariesOptions> = {}): Promise<AppSummaries> {
  summaries = await AppSummaries.listen(path, {
    served: (r, b) => r === route && b.startsWith('127.0.0.1:'),
    nowMs: () => nowMs,
    ...options,
  });
  return summaries;
}

function eventually(check: () => void): Promise<void> {
  return vi.waitFor(check, { interval: 5, timeout: 5_000 });
}

/** Sends one line that is wrong and returns what was answered. */
async function answerTo(line: string): Promise<string> {
  const all = await listen();
  const client = new Client(path);
  client.send(`${line}\n`);
  await eventually(() => {
    expect(client.answers).toHaveLength(1);
  });
  expect(all.counts()).toMatchObject({ accepted: 0, rejected: 1, dropped: 0 });
  const [answer] = client.answers;
  expect(answer?.hint).toMatch(/\.$/);
  return answer?.error ?? '';
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nity-app-'));
  path = join(directory, 'app.sock');
  clients = [];
  nowMs = 1_000_000;
});

afterEach(async () => {
  for (const client of clients) client.destroy();
  await summaries?.close();
  summaries = undefined;
  rmSync(directory, { recursive: true });
});

describe('a line of summary', () => {
  it('is read back for its pair, and is not answered', async () => {
    const all = await listen();
    const client = new Client(path);
    client.say(good);
    await eventually(() => {
      expect(all.read(route, backend, nowMs)).toEqual({
        latencyP95Ms: 12.5,
        errorRate: 0.01,
        queueDepth: 3,
      });
    });
    expect(all.read(route, '127.0.0.1:1', nowMs)).toBeNull();
    expect(all.counts()).toMatchObject({ accepted: 1, rejected: 0, dropped: 0 });
    expect(client.heard).toBe('');
  });

  it('replaces what was said before: what it leaves out is unknown again', async () => {
    const all = await listen();
    const client = new Client(path);
    client.say(good);
    client.say({ route, backend, queueDepth: -0 });
    await eventually(() => {
      expect(all.counts().accepted).toBe(2);
    });
    expect(all.read(route, backend, nowMs)).toStrictEqual({
      latencyP95Ms: null,
      errorRate: null,
      queueDepth: 0,
    });
  });

  it('may come in pieces, with others in one piece, and last without a newline', async () => {
    const all = await listen();
    const client = new Client(path);
    const line = JSON.stringify({ ...good, backend: '127.0.0.1:1' });
    client.send(line.slice(0, 30));
    // The first piece is on its way alone before the second is written.
    await new Promise((resolve) => setTimeout(resolve, 30));
    const second = JSON.stringify({ ...good, backend: '127.0.0.1:2' });
    client.send(`${line.slice(30)}\n${second}\r\n`);
    client.end(JSON.stringify({ ...good, backend: '127.0.0.1:3' }));
    await eventually(() => {
      expect(client.closed).toBe(true);
    });
    expect(all.counts()).toMatchObject({ accepted: 3, rejected: 0 });
    for (const port of [1, 2, 3]) {
      expect(all.read(route, `127.0.0.1:${port}`, nowMs), String(port)).not.toBeNull();
    }
  });

  it('reads as absent once it is older than the time that was given', async () => {
    const all = await listen();
    new Client(path).say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(1);
    });
    expect(all.read(route, backend, nowMs + 2_000)).not.toBeNull();
    expect(all.read(route, backend, nowMs + 2_001)).toBeNull();
    all.appSummaryMs = 5_000;
    expect(all.read(route, backend, nowMs + 5_000)).not.toBeNull();
  });

  it.each([
    ['no JSON', '{"route":', 'The line is not JSON.'],
    ['an empty line', '', 'The line is not JSON.'],
    ['a list', '[]', 'The line is wrong: expected one JSON object.'],
    ['null', 'null', 'The line is wrong: expected one JSON object.'],
    [
      'no number at all',
      JSON.stringify({ route, backend }),
      'The line is wrong: expected latencyP95Ms, errorRate or queueDepth.',
    ],
    [
      'no route',
      JSON.stringify({ backend, queueDepth: 1 }),
      'route: expected a name such as shop/cart:http.',
    ],
    [
      'an errorRate out of range',
      JSON.stringify({ ...good, errorRate: 1.01 }),
      'errorRate: expected a number from 0 to 1, or to be left out.',
    ],
    [
      'a latency out of range',
      JSON.stringify({ ...good, latencyP95Ms: 3_600_001 }),
      'latencyP95Ms: expected a number from 0 to 3600000, or to be left out.',
    ],
    [
      'a queue below zero',
      JSON.stringify({ ...good, queueDepth: -1 }),
      'queueDepth: expected a number from 0 to 1000000, or to be left out.',
    ],
    [
      'an infinite number',
      `{"route":"${route}","backend":"${backend}","queueDepth":1e999}`,
      'queueDepth: expected a number from 0 to 1000000, or to be left out.',
    ],
    ['a key it does not know', JSON.stringify({ ...good, load: 1 }), 'load: unknown key.'],
    [
      'a key that is everybody’s prototype',
      `{"__proto__":{"queueDepth":1},"route":"${route}","backend":"${backend}"}`,
      '__proto__: unknown key.',
    ],
    [
      'a route that is not served',
      JSON.stringify({ ...good, route: 'no/such:80' }),
      'no/such:80 with the backend 127.0.0.1:21001 is not served on this node.',
    ],
    ['more than 4 KiB', 'x'.repeat(4_097), 'The line is longer than 4096 bytes.'],
  ])('is refused and answered if it is %s', async (_what, line, error) => {
    expect(await answerTo(line)).toBe(error);
  });

  it('may have 4 KiB and no more, and the next one is read after one that had more', async () => {
    const all = await listen();
    const client = new Client(path);
    client.send(`${JSON.stringify(good).padEnd(4_096)}\n`);
    client.send('x'.repeat(100_000));
    client.send(`\n${JSON.stringify(good)}\n`);
    await eventually(() => {
      expect(all.counts()).toMatchObject({ accepted: 2, rejected: 1 });
    });
  });
});

describe('a sender in the wrong', () => {
  it('is told at most once a second', async () => {
    const all = await listen();
    const client = new Client(path);
    client.send('one\ntwo\nthree\n');
    await eventually(() => {
      expect(all.counts().rejected).toBe(3);
    });
    nowMs += 1_000;
    client.send('four\n');
    await eventually(() => {
      expect(client.answers).toHaveLength(2);
    });
  });

  it('is told even if it stops sending right after the line', async () => {
    await listen();
    const client = new Client(path);
    client.end('nonsense');
    await eventually(() => {
      expect(client.closed).toBe(true);
    });
    expect(client.answers).toMatchObject([{ error: 'The line is not JSON.' }]);
  });

  it('loses the lines beyond 1,000 a second, is told, and is heard again a second later', async () => {
    const all = await listen();
    const client = new Client(path);
    client.send(`${JSON.stringify(good)}\n`.repeat(1_500));
    await eventually(() => {
      expect(all.counts()).toMatchObject({ accepted: 1_000, dropped: 500 });
    });
    expect(client.answers[0]?.error).toBe(
      'Lines were dropped: a connection may send 1000 a second, and all together 16384.',
    );
    nowMs += 1_000;
    client.send(`${JSON.stringify(good)}\n`.repeat(1_001));
    await eventually(() => {
      expect(all.counts()).toMatchObject({ accepted: 2_000, dropped: 501 });
    });
  });

  it('does not take the lines of another connection', async () => {
    const all = await listen({ limits: { linesPerSecond: 2 } });
    new Client(path).send('x\n'.repeat(50));
    await eventually(() => {
      expect(all.counts()).toMatchObject({ rejected: 2, dropped: 48 });
    });
    new Client(path).say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(1);
    });
  });

  it('gets no more answers when it reads none: they do not pile up', async () => {
    // A second passes at each look at the clock, so that each line may be answered.
    const all = await listen({ nowMs: () => (nowMs += 1_000), limits: unhurried });
    const client = new Client(path);
    client.stopReading();
    client.send('x\n'.repeat(20_000));
    await eventually(() => {
      expect(all.counts().rejected).toBe(20_000);
    });
    client.readOn();
    client.send('x\n');
    await eventually(() => {
      expect(all.counts().rejected).toBe(20_001);
      expect(client.answers.length).toBeGreaterThan(0);
    });
    // What the kernel's buffer of one socket holds, and one more.
    expect(client.answers.length).toBeLessThan(5_000);
  });

  it.each([
    ['sends nothing', ''],
    ['never ends its line', 'x'],
  ])('is closed after a while if it %s', async (_what, bytes) => {
    await listen({ limits: { idleMs: 80 } });
    const client = new Client(path);
    const drip = setInterval(() => {
      if (!client.closed) client.send(bytes);
    }, 20);
    await eventually(() => {
      expect(client.closed).toBe(true);
    });
    clearInterval(drip);
  });

  it('stays connected as long as whole lines come', async () => {
    const all = await listen({ limits: { idleMs: 500 } });
    const client = new Client(path);
    for (let i = 0; i < 8; i++) {
      client.say(good);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(client.closed).toBe(false);
    expect(all.counts().accepted).toBe(8);
  });
});

describe('the limits of all senders together', () => {
  it('refuse the 65th connection in words, and take another when one is gone', async () => {
    const all = await listen();
    const held = Array.from({ length: appSummaryLimits.connections }, () => new Client(path));
    for (const client of held) client.say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(64);
    });
    const late = new Client(path);
    await eventually(() => {
      expect(late.closed).toBe(true);
    });
    expect(late.answers).toMatchObject([{ error: 'All 64 connections are taken.' }]);
    expect(all.counts().refusedConnections).toBe(1);
    held[0]?.destroy();
    await eventually(() => {
      new Client(path).say(good);
      expect(all.counts().accepted).toBeGreaterThan(64);
    });
  });

  it('drop what all together send too fast, and hear the next a quarter of a second later', async () => {
    const all = await listen({ limits: { allLinesPerSecond: 40 } });
    for (let i = 0; i < 4; i++) new Client(path).send(`${JSON.stringify(good)}\n`.repeat(6));
    await eventually(() => {
      expect(all.counts()).toMatchObject({ accepted: 10, dropped: 14 });
    });
    nowMs += 250;
    new Client(path).say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(11);
    });
  });

  it('keep so many pairs and no more, until some expire', async () => {
    const all = await listen({ limits: { pairs: 2 } });
    const client = new Client(path);
    for (const port of [1, 2, 3, 2]) client.say({ ...good, backend: `127.0.0.1:${port}` });
    await eventually(() => {
      expect(all.counts()).toMatchObject({ accepted: 3, dropped: 1 });
    });
    await eventually(() => {
      expect(client.answers[0]?.error).toBe('All 2 pairs of route and backend are taken.');
    });
    expect(all.read(route, '127.0.0.1:3', nowMs)).toBeNull();
    nowMs += 2_001;
    client.say({ ...good, backend: '127.0.0.1:3' });
    await eventually(() => {
      expect(all.read(route, '127.0.0.1:3', nowMs)).not.toBeNull();
    });
  });

  it('hold whatever bytes come: the agent goes on and hears the next good line', async () => {
    const all = await listen({ limits: unhurried });
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 9_000 }),
      fc.json().map((text) => Buffer.from(`${text}\n`)),
      fc
        .record({ route: fc.anything(), backend: fc.anything(), queueDepth: fc.anything() })
        .map((value) => Buffer.from(`${JSON.stringify(value, plain)}\n`)),
      fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })).map(([at, byte]) => {
        const line = Buffer.from(`${JSON.stringify(good)}\n`);
        line[at % line.length] = byte;
        return line;
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(noise, { maxLength: 6 }), fc.boolean(), async (chunks, abrupt) => {
        nowMs += 10_000;
        const client = new Client(path);
        for (const chunk of chunks) client.send(chunk);
        if (abrupt) client.destroy();
        const honest = new Client(path);
        const before = nowMs;
        honest.say({ ...good, backend: '127.0.0.1:9' });
        await eventually(() => {
          expect(all.read(route, '127.0.0.1:9', before)).not.toBeNull();
        });
        for (const { error, hint } of client.answers) {
          expect(error.length).toBeLessThan(400);
          expect(hint).toMatch(/\.$/);
        }
        client.destroy();
        honest.destroy();
      }),
      { numRuns: 100 },
    );
  }, 30_000);
});

describe('the socket', () => {
  it('has the mode that was asked for and is gone when it is closed', async () => {
    const all = await listen();
    expect(statSync(path).mode & 0o777).toBe(0o660);
    const client = new Client(path);
    client.say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(1);
    });
    await all.close();
    await all.close();
    expect(readdirSync(directory)).toEqual([]);
    await eventually(() => {
      expect(client.closed).toBe(true);
    });
    await listen({ mode: 0o600 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is taken over from an agent that died', async () => {
    await leaveStaleSocket();
    const all = await listen();
    new Client(path).say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(1);
    });
  });

  it('is not taken from a process that listens', async () => {
    const all = await listen();
    const second = AppSummaries.listen(path, { served: () => true });
    await expect(second).rejects.toThrow(UnsafeError);
    await expect(second).rejects.toThrow(`Another process listens at ${path}.`);
    new Client(path).say(good);
    await eventually(() => {
      expect(all.counts().accepted).toBe(1);
    });
  });

  it('is left in place when another has put its own there since', async () => {
    const all = await listen();
    rmSync(path);
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(path, resolve));
    await all.close();
    expect(existsSync(path)).toBe(true);
    await new Promise((resolve) => other.close(resolve));
  });

  it('replaces nothing that is no socket', async () => {
    writeFileSync(path, 'precious');
    await expect(listen()).rejects.toThrow(`${path} is there already and is no socket.`);
    rmSync(path);
    mkdirSync(path);
    await expect(listen()).rejects.toThrow(InputError);
    expect(existsSync(path)).toBe(true);
  });

  it('is refused where it cannot be, with the reason', async () => {
    path = join(directory, 'absent', 'app.sock');
    await expect(listen()).rejects.toThrow(`${join(directory, 'absent')} is not a directory.`);
    path = join(directory, 'x'.repeat(108));
    await expect(listen()).rejects.toThrow('its path must have 1 to 103 bytes');
    path = join(directory, 'app.sock');
    writeFileSync(`${path}.new`, 'precious');
    await expect(listen()).rejects.toThrow(InputError);
    expect(readdirSync(directory)).toEqual(['app.sock.new']);
  });
});

/** A socket file without a process, as SIGKILL leaves it behind. */
async function leaveStaleSocket(): Promise<void> {
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(`${path}.then`, resolve));
  // Closing unlinks the name that was bound, so the file survives under another.
  renameSync(`${path}.then`, path);
  await new Promise((resolve) => dead.close(resolve));
  expect(statSync(path).isSocket()).toBe(true);
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
