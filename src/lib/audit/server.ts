// GET /metrics for Prometheus, and /healthz and /readyz for whoever keeps the agent
// running. Off unless an address is given.
import { messageOf } from '../errors.js';
import type { Address } from './address.js';
import { serveHttp, type HttpServer } from './http.js';
import type { Audit } from './metrics.js';

/** `staleAfterMs` is the age of the last tick beyond which the agent is neither ready nor well. */
export function serveMetrics(
  address: Address,
  audit: Audit,
  staleAfterMs: () => number,
): Promise<HttpServer> {
  return serveHttp(address, { what: 'Metrics', flag: '--metrics-addr' }, (path, say) => {
    const { tickAgeMs } = audit.health(performance.now());
    const stale = tickAgeMs !== null && tickAgeMs > staleAfterMs();
    switch (path) {
      case '/metrics':
        audit.text().then(
          (text) => {
            say(200, text, audit.contentType);
          },
          (error: unknown) => {
            say(500, `${messageOf(error)}\n`);
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
}
