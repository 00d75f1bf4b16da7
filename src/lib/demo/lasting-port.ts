// A port for a server that goes away and comes back. The kernel lends the ports of
// its ephemeral range to clients (net.ipv4.ip_local_port_range, 32768 to 60999
// unless set), so a port from there may be taken while its server is away.
import type { Server } from 'node:net';

const lowest = 10_000;
const count = 20_000;
const backlog = 4096;

/** Processes that start together begin far apart: the factor shares no divisor with `count`. */
let tried = process.pid * 997;

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, backlog }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Listens on 127.0.0.1 at `port`, or at a free port below the ephemeral range if it is 0.
 * @returns the port, to come back to
 * @throws EADDRINUSE if `port` is taken, or every port below the ephemeral range
 */
export async function listenOnLastingPort(server: Server, port = 0): Promise<number> {
  for (let tries = 1; ; tries++) {
    const candidate = port === 0 ? lowest + (tried++ % count) : port;
    try {
      await listen(server, candidate);
      return candidate;
    } catch (error) {
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (!taken || port !== 0 || tries === count) throw error;
    }
  }
}
