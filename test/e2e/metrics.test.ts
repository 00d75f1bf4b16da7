// Metrics as Prometheus meets them: a running agent, Debian's Prometheus that scrapes it,
// and promtool's opinion of what it reads.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { unavailable } from '../kernel/rig.js';
import { Desk } from './desk.js';
import { noPrometheus, Prometheus, promtool } from './prometheus.js';

const rules = join(import.meta.dirname, '../../deploy/monitoring/alerts.yaml');

async function eventually<T>(ask: () => Promise<T>, met: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const value = await ask();
    if (met(value) || performance.now() > deadline) return value;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

describe.skipIf(unavailable !== undefined)('the metrics of a running agent', () => {
  let desk: Desk;
  let url: string;

  beforeAll(() => {
    desk = new Desk();
  });

  beforeEach(async () => {
    desk.serve({ cart: 2, empty: 0 });
    const { log } = await desk.agent('--metrics-addr', '127.0.0.1:0');
    url = /http:\/\/\S+/.exec(log())?.[0] ?? 'none';
  });

  afterEach(async () => {
    await desk.clear();
  });

  afterAll(async () => {
    await desk.close();
  });

  const scrape = async () => (await fetch(`${url}/metrics`)).text();

  it('tell of ticks, routes and backends, and name no backend and no address', async () => {
    const text = await eventually(scrape, (told) => told.includes('outcome="unchanged"} 3'));
    expect(text).toMatch(/^nity_ticks_total\{outcome="projected"\} 1$/m);
    expect(text).toMatch(/^nity_tick_duration_seconds_count [1-9]/m);
    expect(text).toMatch(/^nity_backends\{state="healthy"\} 2$/m);
    expect(text).toMatch(/^nity_routes_without_backends 1$/m);
    expect(text).toMatch(/^nity_failsafe_mode\{mode="normal"\} 1$/m);
    expect(text).toMatch(/^nity_table_entries\{table="backends"\} 2$/m);
    expect(text).not.toMatch(/127\.\d|:3\d{4}|shop\/cart/);
  });

  it.skipIf(noPrometheus !== undefined)('follow Prometheus’s conventions', async () => {
    expect(promtool(['check', 'metrics'], await scrape())).toEqual({ code: 0, said: '' });
  });

  it('say what an operator does, and what is wrong with the services', async () => {
    await desk.nity('set-mode', 'hard', '--route', 'shop/cart:http', '--ttl', '30s');
    const overridden = await eventually(scrape, (told) =>
      told.includes('nity_routes_overridden{mode="hard"} 1'),
    );
    expect(overridden).toContain('nity_routes_by_admission_mode{mode="hard"} 1');
    expect(overridden).toMatch(
      /^nity_route_trouble\{route="shop\/cart:http",regime="laminar",mode="hard"\} 1$/m,
    );
    expect(overridden).toMatch(/^nity_changes_total\{change="override",cause="override"\} 1$/m);

    writeFileSync(desk.services, 'services: nonsense');
    const broken = await eventually(scrape, (told) =>
      told.includes('nity_input_rejected{input="services"} 1'),
    );
    expect(broken).toContain('nity_input_rejected{input="services"} 1');
    desk.serve({ cart: 2 });
    const mended = await eventually(scrape, (told) =>
      told.includes('nity_input_rejected{input="services"} 0'),
    );
    expect(mended).toContain('nity_input_rejected{input="services"} 0');
  });

  it('have their health beside them, and nothing else', async () => {
    const answers = await Promise.all(
      ['/healthz', '/readyz', '/', '/metrics/../etc/passwd'].map((path) => fetch(`${url}${path}`)),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 404]);
    expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
  });

  it.skipIf(noPrometheus !== undefined)(
    'are scraped by a real Prometheus, whose rules see what is wrong',
    async () => {
      const prometheus = await Prometheus.start(new URL(url).host, [rules]);
      try {
        const [up] = await eventually(
          () => prometheus.query('up == 1'),
          (found) => found.length > 0,
        );
        expect(up?.metric['job']).toBe('nity');
        const [series] = await prometheus.query('scrape_samples_scraped');
        expect(Number(series?.value[1])).toBeLessThan(2000);
        const ticking = await eventually(
          () => prometheus.query('sum(rate(nity_ticks_total[10s]))'),
          ([rate]) => Number(rate?.value[1] ?? 0) > 1,
        );
        expect(Number(ticking[0]?.value[1])).toBeGreaterThan(1);
        const alerts = await eventually(
          () => prometheus.alerts(),
          (names) => names.includes('NityRouteWithoutBackends'),
        );
        expect(alerts).toEqual(['NityRouteWithoutBackends']);
      } finally {
        await prometheus.stop();
      }
    },
  );

  it('cannot be served at an address that is taken, or is none', async () => {
    const taken = await desk.nity(
      ...['run-agent', '--services', desk.services, '--cgroup', desk.cgroup],
      ...['--pin-path', `${desk.pinPath}-2`, '--metrics-addr', new URL(url).host],
    );
    expect(taken.code).toBe(2);
    expect(taken.stderr).toMatch(/Metrics cannot be served at 127\.0\.0\.1:\d+: .*EADDRINUSE/);
    const wrong = await desk.nity('run-agent', '--services', desk.services, '--metrics-addr', 'x');
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('x is not an address to serve metrics at.');
  });
});
