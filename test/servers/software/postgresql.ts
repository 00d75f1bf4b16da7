// PostgreSQL: queries, CancelRequests (which are closed without an answer), reports that take
// seconds, bulk inserts by COPY, and an idle pool.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ask } from '../client.js';
import { Conversation, converse } from './conversation.js';
import type { Software } from './software.js';

function int32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes.toString('latin1');
}

/** The length counts itself. */
const framed = (body: string) => int32(4 + body.length) + body;
const message = (kind: string, body: string) => kind + framed(body);
const query = (sql: string) => message('Q', `${sql}\0`);
/** Protocol 3.0. */
const startup = framed(`${int32(196_608)}user\0nobody\0database\0postgres\0\0`);
/** The numbers of nobody's session: the server closes the connection and says nothing. */
const cancelRequest = framed(int32(80_877_102) + int32(1) + int32(1));

/* eslint-disable no-control-regex -- the protocol is binary. */
const ready = /Z\0\0\0\x05[ITE]/;
const copying = /G\0\0\0[^]/;
/* eslint-enable no-control-regex */

async function logIn(conversation: Conversation): Promise<void> {
  await conversation.exchange(startup, ready);
}

/** The only thing that tells the instances apart is their configuration. */
const nameOf = 'select current_setting($$nity.name$$)';
const nameIn = (heard: string) => /name=([^;]*);/.exec(heard)?.[1] ?? 'an answer without a name';

function ranQuery(sql: string): (vip: string) => Promise<string> {
  return (vip) =>
    converse(vip, async (conversation) => {
      await logIn(conversation);
      const heard = await conversation.exchange(query(sql), ready);
      conversation.say(message('X', ''));
      return nameIn(heard);
    });
}

function bulkInsert(vip: string): Promise<string> {
  return converse(vip, async (conversation) => {
    await logIn(conversation);
    await conversation.exchange(query('create temporary table bulk (line text)'), ready);
    await conversation.exchange(query('copy bulk from stdin'), copying);
    for (let part = 0; part < 10; part++) {
      await sleep(150);
      conversation.say(message('d', 'line\n'.repeat(50)));
    }
    await conversation.exchange(message('c', ''), ready);
    return nameIn(await conversation.exchange(query(nameOf), ready));
  });
}

export const postgresql: Software = {
  what: 'PostgreSQL: queries, CancelRequest, reports, COPY and an idle pool',
  instances: 3,
  start: async (daemons, instances) => {
    const template = join(daemons.directory('postgresql'), 'template');
    daemons.run('initdb', [
      ...['-D', template, '-U', 'nobody', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'],
    ]);
    await Promise.all(
      instances.map(async ({ name, port }) => {
        const data = join(daemons.directory(name), 'data');
        daemons.run('cp', ['-a', template, data]);
        const settings = {
          listen_addresses: '127.0.0.1',
          unix_socket_directories: '',
          shared_buffers: '16MB',
          max_connections: '90',
          fsync: 'off',
          autovacuum: 'off',
          'nity.name': `name=${name};`,
        };
        const words = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
        await daemons.start(name, port, 'postgres', ['-D', data, '-p', String(port), ...words]);
        await answers(port);
      }),
    );
  },
  idle: {
    count: 15,
    open: async (vip) => {
      const conversation = new Conversation(vip);
      await logIn(conversation);
      return conversation;
    },
  },
  traffic: [
    { what: 'queries', perSecond: 40, once: ranQuery(nameOf) },
    { what: 'reports', perSecond: 3, once: ranQuery(`select pg_sleep(3), (${nameOf})`) },
    {
      what: 'CancelRequests',
      perSecond: 12,
      expected: ['EOF'],
      once: (vip) => ask(vip, cancelRequest),
    },
    { what: 'bulk inserts', perSecond: 4, once: bulkInsert },
  ],
};

/** It listens before it takes sessions. */
async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const conversation = new Conversation('127.0.0.1', port);
    conversation.say(startup);
    const heard = await conversation.hear(/^[RE]/).catch(() => 'E');
    conversation.close();
    if (heard === 'R') return;
    await sleep(100);
  }
  throw new Error(`PostgreSQL at port ${port} takes no sessions`);
}
