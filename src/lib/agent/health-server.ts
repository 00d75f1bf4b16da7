// GET /startupz, /livez and /readyz for the kubelet, with the numbers behind each answer as
// JSON. Off unless an address is given: several agents may run on one machine.
import type { Address } from '../audit/address.js';
import { serveHttp, type HttpServer } from '../audit/http.js';
import type { Health, Probe } from './health.js';

const paths: Readonly<Record<string, Probe>> = {
  '/startupz': 'startup',
  '/livez': 'liveness',
  '/readyz': 'readiness',
};

export function serveHealth(address: Address, health: Health): Promise<HttpServer> {
  return serveHttp(address, { what: 'Health', flag: '--health-addr' }, (path, say) => {
    const probe = paths[path];
    if (probe === undefined) {
      say(404, 'there are /startupz, /livez and /readyz\n');
      return;
    }
    const { ok, why, numbers } = health.ask(probe, performance.now());
    const body = { schemaVersion: 1, probe, ok, why, ...numbers };
    say(ok ? 200 : 503, `${JSON.stringify(body)}\n`, 'application/json');
  });
}
