// nginx: requests on kept connections, connections that it closes without an answer (444), health
// checks that only connect, slow uploads, and an instance that answers 500 at once.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ask, send } from '../client.js';
import { converse } from './conversation.js';
import type { Daemons } from './daemon.js';
import type { Instance, Software } from './software.js';

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: service\r\n\r\n`;
const answer = /HTTP\/1\.1 (\d+)[^]*?\r\n\r\nname=([^;]*);/;
const nameIn = (text: string) => answer.exec(text)?.[2] ?? text;

function configuration(directory: string, { name, port }: Instance, fails: boolean): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(directory, kind)};`,
  );
  // The body is read whole before it is passed on. A request for work costs two hops, an error none.
  return `daemon off;
pid ${join(directory, 'pid')};
error_log stderr;
worker_processes 1;
events { worker_connections 1024; }
http {
  access_log off;
  default_type text/plain;
  ${temporary.join('\n  ')}
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location = / { return 200 "name=${name};"; }
    location = /dropped { return 444; }
    location = /upload { proxy_pass http://127.0.0.1:${port}/; }
    location = /work { ${fails ? `return 500 "name=${name};"` : `proxy_pass http://127.0.0.1:${port}/worker`}; }
    location = /worker { proxy_pass http://127.0.0.1:${port}/worker2; }
    location = /worker2 { proxy_pass http://127.0.0.1:${port}/; }
  }
}
`;
}

async function start(
  daemons: Daemons,
  instances: readonly Instance[],
  firstFails: boolean,
): Promise<void> {
  await Promise.all(
    instances.map(async (instance, i) => {
      const directory = daemons.directory(instance.name);
      const file = join(directory, 'nginx.conf');
      writeFileSync(file, configuration(directory, instance, firstFails && i === 0));
      const words = ['-e', 'stderr', '-p', directory, '-c', file];
      await daemons.start(instance.name, instance.port, 'nginx', words);
    }),
  );
}

/** Three requests on one connection, answered by one instance. */
function keptAlive(vip: string): Promise<string> {
  return converse(vip, async (conversation) => {
    const names = new Set<string>();
    for (let i = 0; i < 3; i++) {
      names.add(nameIn(await conversation.exchange(get('/'), answer)));
      await sleep(50);
    }
    return [...names].join(' and ');
  });
}

function slowUpload(vip: string): Promise<string> {
  return converse(vip, async (conversation) => {
    const parts = 10;
    const part = 'x'.repeat(500);
    const length = parts * part.length;
    conversation.say(`POST /upload HTTP/1.1\r\nHost: service\r\nContent-Length: ${length}\r\n\r\n`);
    for (let i = 0; i < parts; i++) {
      await sleep(200);
      conversation.say(part);
    }
    return nameIn(await conversation.hear(answer));
  });
}

export const nginx: Software = {
  what: 'nginx: kept connections, 444, health checks and slow uploads',
  instances: 4,
  start: (daemons, instances) => start(daemons, instances, false),
  traffic: [
    { what: 'requests', perSecond: 30, once: keptAlive },
    {
      what: 'dropped requests',
      perSecond: 15,
      expected: ['EOF'],
      once: (vip) => ask(vip, get('/dropped')),
    },
    {
      what: 'health checks',
      perSecond: 10,
      expected: ['sent'],
      once: (vip) => send(vip, '', 0),
    },
    { what: 'uploads', perSecond: 10, once: slowUpload },
  ],
};

export const failingNginx: Software = {
  what: 'nginx: one instance answers 500 at once',
  instances: 4,
  start: (daemons, instances) => start(daemons, instances, true),
  traffic: [
    {
      what: 'requests',
      perSecond: 70,
      once: (vip) =>
        converse(vip, async (conversation) =>
          nameIn(await conversation.exchange(get('/work'), answer)),
        ),
    },
  ],
  most: 1.2,
};
