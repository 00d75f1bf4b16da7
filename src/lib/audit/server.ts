// GET /metrics for Prometheus, and /healthz and /readyz for whoever keeps the agent
// running. Off unless an address is given; it takes no input but the path.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { InputError } from '../errors.js';
import type { MetricsAddress } from './metrics-address.js';
import type { Audit } from './metrics.js';

export interface MetricsServer {
  readonly address: MetricsAddress;
  close(): Promise<void>;
}

/** More than a Prometheus, its replica and a person; each holds little. */
const mostConnections = 16;
const patienceMs = 5_000;

/** `staleAfterMs` is the age of the last tick beyond which the agent is neither ready nor well. */
export async function serveMetrics(
  address: MetricsAddress,
  audit: Audit,
  staleAfterMs: () => number,
): Promise<MetricsServer> {
  const server = createServer((asked, answer) => {
    const say = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
      answer.writeHead(status, { 'content-type': type }).end(asked.method === 'HEAD' ? '' : text);
    };
    if (asked.method !== 'GET' && asked.method !== 'HEAD') {
      answer.setHeader('allow', 'GET, HEAD');
      say(405, 'only GET and HEAD\n');
      return;
    }
    const { tickAgeMs } = audit.health(performance.now());
    const stale = tickAgeMs !== null && tickAgeMs > staleAfterMs();
    switch ((asked.url ?? '').split('?', 1).join()) {
      case '/metrics':
        audit.text().then(
          (text) => {
            say(200, text, audit.contentType);
          },
          (error: unknown) => {
            say(500, `${error instanceof Error ? error.message : String(error)}\n`);
          },
        );
        return;
      case '/healthz':
        // Before the first tick there is nothing to be ill of.
        say(stale ? 503 : 200, stale ? `no tick for ${Math.round(tickAgeMs)} ms\n` : 'ok\n');
        return;
      case '/readyz':
        if (tickAgeMs === null) say(503, 'no tick yet\n');
        else say(stale ? 503 : 200, stale ? `no tick for ${Math.round(tickAgeMs)} ms\n` : 'ok\n');
        return;
      default:
        say(404, 'there are /metrics, /healthz and /readyz\n');
    }
  });
  server.maxConnections = mostConnections;
  server.headersTimeout = patienceMs;
  server.requestTimeout = patienceMs;
  await listen(server, address);
  const { address: host, port } = server.address() as AddressInfo;
  return {
    address: { host, port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function listen(server: ReturnType<typeof createServer>, { host, port }: MetricsAddress) {
  return new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new InputError(
          `Metrics cannot be served at ${host}:${port}: ${error.message}.`,
          'Name a free address of this machine with --metrics-addr, or leave it out.',
          error,
        ),
      );
    });
    server.listen({ host, port }, resolve);
  });
}
