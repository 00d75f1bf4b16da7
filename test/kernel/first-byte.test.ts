// First-byte latency, measured by the kernel on real sockets: what counts as a
// request and as its answer, with peers that talk in every way there is.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect, createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { load } from '../../src/lib/dataplane/loader.js';
import type { BackendView } from '../../src/lib/dataplane/snapshot.js';
import type { Route } from '../../src/lib/routes/route-set.js';
import { addressOf, Rig, unavailable, until } from './rig.js';

describe.skipIf(unavailable !== undefined)('first-byte latency', () => {
  let rig: Rig;
  let servers: Server[] = [];
  let sockets: Socket[] = [];

  beforeEach(() => {
    rig = new Rig();
    rig.start({ tau1Ms: 60_000, tau2Ms: 120_000 });
    servers = [];
    sockets = [];
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
    await rig.stop();
  });

  async function serve(server: Server): Promise<Route> {
    servers.push(server);
    server.on('connection', (socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const route = rig.route([
      { port: address !== null && typeof address === 'object' ? address.port : 0 },
    ]);
    rig.serve([route]);
    return route;
  }

  /** A server that handles each chunk it reads. */
  const answering = (handle: (socket: Socket, chunk: Buffer) => void) =>
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('data', (chunk) => {
        handle(socket, chunk);
      });
    });

  const later = (ms: number, text: string) => (socket: Socket) => {
    setTimeout(() => socket.write(text), ms);
  };

  async function dial(route: Route): Promise<Socket> {
    const { vip, port } = addressOf(route);
    const socket = connect({ host: vip, port, allowHalfOpen: true, noDelay: true });
    sockets.push(socket);
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  }

  const heard = (socket: Socket) => new Promise((resolve) => socket.once('data', resolve));
  /** From before the request is sent until after its answer is heard, however busy the machine is. */
  const exchange = async (socket: Socket): Promise<number> => {
    const began = performance.now();
    socket.write('request');
    await heard(socket);
    return performance.now() - began;
  };
  const backend = (): BackendView => rig.backend(0);

  it('is the time from the request’s last bytes to the answer’s first', async () => {
    const socket = await dial(await serve(answering(later(60, 'answer'))));
    await sleep(100);
    expect(backend().counters.answered).toBe(0n);
    const tookMs = await exchange(socket);
    const { counters, waiting } = backend();
    expect(counters.answered).toBe(1n);
    expect(Number(counters.firstByteNs) / 1e6).toBeGreaterThanOrEqual(59);
    expect(Number(counters.firstByteNs) / 1e6).toBeLessThanOrEqual(tookMs);
    expect(counters.firstByteHistogram.reduce((a, b) => a + b, 0)).toBe(1);
    expect(waiting).toBe(0);
  });

  it('shows an unanswered request and its age before there is an answer', async () => {
    const socket = await dial(await serve(answering(() => undefined)));
    expect(backend()).toMatchObject({ waiting: 0, waitingAgeMs: null });
    socket.write('request');
    await until(() => backend().waiting === 1);
    const age = backend().waitingAgeMs ?? 0;
    await sleep(100);
    expect(backend().waitingAgeMs).toBeGreaterThanOrEqual(age + 99);
    socket.destroy();
    await until(() => backend().waiting === 0);
    // It was given up: the agent compares how often that is so between backends.
    expect(backend().counters).toMatchObject({ answered: 0n, unanswered: 1n, dropped: 0n });
  });

  it('gives each first request one end: answered, dropped or unanswered', async () => {
    const handle = (socket: Socket, chunk: Buffer) => {
      if (chunk.toString() === 'answer me') socket.write('answer');
      if (chunk.toString() === 'drop me') socket.end();
    };
    const route = await serve(answering(handle));
    for (const request of ['answer me', 'drop me', 'leave me', 'answer me']) {
      const socket = await dial(route);
      socket.write(request);
      if (request === 'answer me') await heard(socket);
      if (request === 'drop me') await new Promise((resolve) => socket.once('end', resolve));
      if (request === 'leave me') await until(() => backend().waiting === 1);
      socket.destroy();
    }
    await until(() => backend().counters.unanswered === 1n && backend().waiting === 0);
    expect(backend().counters).toMatchObject({ firstAnswered: 2n, dropped: 1n, unanswered: 1n });
  });

  it('counts from the last of several writes, so that an upload is not the backend’s time', async () => {
    let received = 0;
    const handle = (socket: Socket, chunk: Buffer) => {
      received += chunk.length;
      if (received === 3000) socket.write('answer');
    };
    const socket = await dial(await serve(answering(handle)));
    const beganMs = performance.now();
    for (let part = 0; part < 3; part++) {
      if (part > 0) await sleep(150);
      socket.write('x'.repeat(1000));
    }
    await heard(socket);
    const tookMs = performance.now() - beganMs;
    expect(backend().counters.answered).toBe(1n);
    // Two pauses went by before the last part was sent, however slow the machine is.
    expect(Number(backend().counters.firstByteNs) / 1e6).toBeLessThan(tookMs - 290);
    expect(backend().waiting).toBe(0);
  });

  it('counts a first request that the backend hangs up on as dropped', async () => {
    const route = await serve(answering((socket) => socket.end()));
    const socket = await dial(route);
    socket.write('request');
    await new Promise((resolve) => socket.once('end', resolve));
    socket.destroy();
    await until(() => backend().counters.dropped === 1n);
    const reset = await dial(await serve(answering((peer) => peer.resetAndDestroy())));
    reset.write('request');
    await until(() => rig.backend(0).counters.dropped + rig.backend(1).counters.dropped === 2n);
    expect(rig.snapshot.backends().every(({ waiting }) => waiting === 0)).toBe(true);
  });

  it('measures each exchange of a kept-alive connection', async () => {
    const socket = await dial(await serve(answering((peer) => peer.write('answer'))));
    for (let i = 0; i < 20; i++) {
      socket.write('request');
      await heard(socket);
    }
    expect(backend().counters.answered).toBe(20n);
    expect(backend().waiting).toBe(0);
  });

  it('measures a pipelined burst once', async () => {
    const socket = await dial(await serve(answering(later(50, 'answer'))));
    socket.write('one');
    socket.write('two');
    socket.write('three');
    await heard(socket);
    await sleep(60);
    const { counters, waiting } = backend();
    expect(counters.answered).toBe(1n);
    expect(Number(counters.firstByteNs) / 1e6).toBeGreaterThanOrEqual(49);
    expect(waiting).toBe(0);
  });

  it('does not take a greeting for an answer', async () => {
    const server = createServer((socket) => {
      socket.write('220 ready');
      socket.on('data', () => setTimeout(() => socket.write('250 hello'), 40));
    });
    const socket = await dial(await serve(server));
    await sleep(50);
    expect(backend().counters.answered).toBe(0n);
    socket.write('EHLO');
    await sleep(80);
    expect(backend().counters.answered).toBe(1n);
    expect(Number(backend().counters.firstByteNs) / 1e6).toBeGreaterThanOrEqual(39);
  });

  it('does not take what was said before the request was heard for its answer', async () => {
    const streaming = createServer((socket) => {
      const timer = setInterval(() => socket.write('tick'), 5);
      socket.on('close', () => {
        clearInterval(timer);
      });
    });
    const socket = await dial(await serve(streaming));
    socket.on('data', () => undefined);
    await sleep(50);
    expect(backend().counters.answered).toBe(0n);
  });

  it('measures a client that half-closes after its request', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume();
      socket.on('end', () => setTimeout(() => socket.end('answer'), 30));
    });
    const socket = await dial(await serve(server));
    socket.end('request');
    await heard(socket);
    socket.destroy();
    expect(backend().counters.answered).toBe(1n);
    expect(Number(backend().counters.firstByteNs) / 1e6).toBeGreaterThanOrEqual(29);
  });

  it('begins anew when earlier bytes on a used connection wanted no answer', async () => {
    let quiet = false;
    const server = answering((peer) => {
      if (!quiet) peer.write('answer');
    });
    const socket = await dial(await serve(server));
    let tookMs = await exchange(socket);
    quiet = true;
    socket.write('window update');
    await sleep(300);
    quiet = false;
    tookMs += await exchange(socket);
    expect(backend().counters.answered).toBe(2n);
    expect(Number(backend().counters.firstByteNs) / 1e6).toBeLessThanOrEqual(tookMs);
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
    const psk = { psk: Buffer.from('00112233445566778899aabbccddeeff', 'hex'), identity: 'nity' };
    // A pre-shared key spares the test a certificate; both versions know this suite or its like.
    const options = {
      ciphers: version === 'TLSv1.3' ? 'TLS_AES_128_CCM_SHA256:PSK' : 'PSK',
      minVersion: version,
      maxVersion: version,
    };

    async function dialTls(): Promise<Socket> {
      const server = createTlsServer({ ...options, pskCallback: () => psk.psk }, (socket) => {
        socket.on('error', () => undefined);
        socket.on('data', () => setTimeout(() => socket.write('answer'), 50));
      });
      const { vip, port } = addressOf(await serve(server));
      const socket = tlsConnect({
        ...options,
        host: vip,
        port,
        pskCallback: () => psk,
        checkServerIdentity: () => undefined,
      });
      sockets.push(socket);
      await new Promise((resolve, reject) => {
        socket.once('secureConnect', resolve);
        socket.once('error', reject);
      });
      return socket;
    }

    it('a request sent at once is measured, and its handshake is not', async () => {
      const socket = await dialTls();
      socket.write('request');
      await heard(socket);
      const { answered, firstByteNs } = backend().counters;
      expect(answered).toBe(1n);
      expect(Number(firstByteNs) / 1e6).toBeGreaterThanOrEqual(49);
    });

    it('each request of a kept-alive connection is measured', async () => {
      const socket = await dialTls();
      await sleep(100);
      for (let i = 0; i < 3; i++) {
        socket.write('request');
        await heard(socket);
      }
      const { answered, firstByteNs } = backend().counters;
      expect(answered).toBe(3n);
      expect(Number(firstByteNs) / 1e6).toBeGreaterThanOrEqual(3 * 49);
      expect(backend().waiting).toBe(0);
    });
  });

  it('measures the deterministic part of the flows that the mask names', async () => {
    const route = await serve(answering((peer) => peer.end('answer')));
    rig.plane.rtControl.write(rig.controlIndex(route), { latencyMask: 3 });
    for (let i = 0; i < 200; i++) {
      const socket = await dial(route);
      socket.write('request');
      await heard(socket);
      socket.destroy();
    }
    const answered = Number(backend().counters.answered);
    expect(answered).toBeGreaterThan(20);
    expect(answered).toBeLessThan(90);
  });

  it('passes over as many exchanges of a used connection as it is told to', async () => {
    const route = await serve(answering((peer) => peer.write('answer')));
    rig.plane.rtControl.write(rig.controlIndex(route), { latencySkip: 3 });
    const socket = await dial(route);
    for (let i = 0; i < 17; i++) {
      socket.write('request');
      await heard(socket);
    }
    // The first, and from then on one in four.
    expect(backend().counters.answered).toBe(5n);
    expect(backend().waiting).toBe(0);
  });

  it('is switched off and on under running connections', async () => {
    const route = await serve(answering((peer) => peer.write('answer')));
    const switchTo = (latency: 'connect' | 'first-byte') =>
      load({ pinPath: rig.pinPath, cgroup: rig.cgroup, knobs: defaultKnobs, latency });
    const exchange = async () => {
      const socket = await dial(route);
      socket.write('request');
      await heard(socket);
      socket.destroy();
    };
    await exchange();
    expect(switchTo('connect')).toMatchObject({ action: 'upgraded', latency: 'connect' });
    await exchange();
    expect(backend().counters).toMatchObject({ answered: 1n, established: 2n });
    expect(switchTo('connect').action).toBe('unchanged');
    expect(switchTo('first-byte').latency).toBe('first-byte');
    await exchange();
    expect(backend().counters.answered).toBe(2n);
    await until(() => backend().waiting === 0);
  });
});
