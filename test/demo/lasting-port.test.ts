import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';

import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';

const servers: Server[] = [];

function server(): Server {
  const made = createServer();
  servers.push(made);
  return made;
}

afterEach(() => {
  for (const one of servers.splice(0)) one.close();
});

describe('a lasting port', () => {
  it('is below those that the kernel lends to clients, unless set otherwise', async () => {
    expect(await listenOnLastingPort(server())).toBeLessThan(32_768);
  });

  it('is there again for a server that went away', async () => {
    const first = server();
    const port = await listenOnLastingPort(first);
    first.close();
    expect(await listenOnLastingPort(server(), port)).toBe(port);
  });

  it('is not shared: the next server gets another, and who insists is refused', async () => {
    const port = await listenOnLastingPort(server());
    expect(await listenOnLastingPort(server())).not.toBe(port);
    await expect(listenOnLastingPort(server(), port)).rejects.toThrow('EADDRINUSE');
  });
});
