// memcached: get and set, connections that only send "noreply" commands, an idle pool.
import { send } from '../client.js';
import { Conversation, converse } from './conversation.js';
import type { Software } from './software.js';

const value = /VALUE name 0 \d+\r\n(.*)\r\nEND\r\n/;
const set = (key: string, what: string, reply: '' | ' noreply') =>
  `set ${key} 0 0 ${what.length}${reply}\r\n${what}\r\n`;

export const memcached: Software = {
  what: 'memcached: get and set, noreply, and an idle pool',
  instances: 4,
  start: async (daemons, instances) => {
    await Promise.all(
      instances.map(async (instance) => {
        await daemons.start(instance.name, instance.port, 'memcached', [
          ...['-l', '127.0.0.1', '-p', String(instance.port), '-U', '0', '-m', '16', '-t', '1'],
        ]);
        const conversation = new Conversation('127.0.0.1', instance.port);
        await conversation.exchange(set('name', instance.name, ''), /STORED\r\n/);
        conversation.close();
      }),
    );
  },
  idle: {
    count: 30,
    open: async (vip) => {
      const conversation = new Conversation(vip);
      await conversation.exchange('version\r\n', /VERSION .*\r\n/);
      return conversation;
    },
  },
  traffic: [
    {
      what: 'get and set',
      perSecond: 40,
      once: (vip) =>
        converse(vip, async (conversation) => {
          await conversation.exchange(set('key', 'value', ''), /STORED\r\n/);
          const heard = await conversation.exchange('get name\r\n', value);
          return value.exec(heard)?.[1] ?? heard;
        }),
    },
    {
      what: 'noreply commands',
      perSecond: 25,
      expected: ['sent'],
      once: (vip) => send(vip, set('key', 'value', ' noreply'), 500),
    },
  ],
};
