// Debian's servers in their everyday shape, all healthy, each behind a VIP of one agent: nobody is
// refused, no backend is starved or isolated, and each answer comes from a backend of its service.
import { afterAll, beforeAll, describe, it, type ExpectStatic } from 'vitest';

import { unavailable } from '../kernel/rig.js';
import { atRandomTimes, Tally } from './client.js';
import { unfairTo } from './judge.js';
import { Daemons, freePorts, noSoftware } from './software/daemon.js';
import { memcached } from './software/memcached.js';
import { mosquitto } from './software/mosquitto.js';
import { failingNginx, nginx } from './software/nginx.js';
import { postgresql } from './software/postgresql.js';
import { redis } from './software/redis.js';
import type { Software } from './software/software.js';
import { Stage, type Service } from './stage.js';

const seconds = 11;
const everything: readonly Software[] = [
  nginx,
  failingNginx,
  redis,
  memcached,
  postgresql,
  mosquitto,
];

async function play(software: Software, service: Service): Promise<readonly string[]> {
  const names = service.backends.map(({ name }) => name);
  const { idle, traffic } = software;
  const open: { close(): void }[] = [];
  for (let i = 0; i < (idle?.count ?? 0); i++) {
    const one = await idle?.open(service.vip);
    if (one !== undefined) open.push(one);
  }
  const complaints = await Promise.all(
    traffic.map(async ({ what, perSecond, expected, once }) => {
      const tally = new Tally();
      await atRandomTimes(perSecond, seconds, async () => {
        tally.add(await once(service.vip));
      });
      return tally.unexpected(what, expected ?? names);
    }),
  );
  for (const one of open) one.close();
  return complaints.flat();
}

const skipped = unavailable ?? noSoftware;

describe.skipIf(skipped !== undefined)('real servers', () => {
  let stage: Stage | undefined;
  let daemons: Daemons | undefined;
  const services = new Map<Software, Service>();

  beforeAll(async () => {
    const started = new Daemons();
    daemons = started;
    for (const [i, software] of everything.entries()) {
      const ports = await freePorts(software.instances);
      const backends = ports.map((port, b) => ({ name: `software-${i}-${b}`, port }));
      services.set(software, { name: `software-${i}`, vip: `127.96.206.${i + 1}`, backends });
    }
    await Promise.all(
      [...services].map(([software, { backends }]) => software.start(started, backends)),
    );
    stage = new Stage();
    await stage.serve([...services.values()]);
    stage.enter();
  });

  afterAll(async () => {
    await stage?.close();
    await daemons?.close();
  });

  async function judge(software: Software, expect: ExpectStatic): Promise<void> {
    const service = services.get(software);
    if (stage === undefined || service === undefined) throw new Error('there is no stage');
    const complaints = [
      ...(await play(software, service)),
      ...unfairTo(await stage.backends(service), software.most),
    ];
    expect(complaints, stage.valveLog()).toEqual([]);
  }

  for (const software of everything) {
    it.concurrent(software.what, ({ expect }) => judge(software, expect));
  }
});
