// Redis: GET and SET, BLPOP that blocks for seconds, subscribers that hear nothing, an idle pool.
import { Conversation, converse } from './conversation.js';
import type { Software } from './software.js';

const name = /\$\d+\r\n(.*)\r\n/;

export const redis: Software = {
  what: 'Redis: GET and SET, BLPOP, idle subscribers and an idle pool',
  instances: 4,
  start: async (daemons, instances) => {
    await Promise.all(
      instances.map(async (instance) => {
        await daemons.start(instance.name, instance.port, 'redis-server', [
          ...['--port', String(instance.port), '--bind', '127.0.0.1'],
          ...['--save', '', '--dir', daemons.directory(instance.name)],
        ]);
        const conversation = new Conversation('127.0.0.1', instance.port);
        await conversation.exchange(`SET name ${instance.name}\r\n`, /\+OK\r\n/);
        conversation.close();
      }),
    );
  },
  idle: {
    count: 60,
    open: async (vip) => {
      const conversation = new Conversation(vip);
      // Two of three in a pool are subscribers.
      if (Math.random() < 2 / 3) await conversation.exchange('SUBSCRIBE news\r\n', /:1\r\n/);
      else await conversation.exchange('PING\r\n', /\+PONG\r\n/);
      return conversation;
    },
  },
  traffic: [
    {
      what: 'GET and SET',
      perSecond: 55,
      once: (vip) =>
        converse(vip, async (conversation) => {
          await conversation.exchange('SET key value\r\n', /\+OK\r\n/);
          const heard = await conversation.exchange('GET name\r\n', name);
          return name.exec(heard)?.[1] ?? heard;
        }),
    },
    {
      what: 'BLPOP',
      perSecond: 5,
      expected: ['nothing popped'],
      once: (vip) =>
        converse(vip, async (conversation) => {
          await conversation.exchange('BLPOP queue 3\r\n', /\*-1\r\n/);
          return 'nothing popped';
        }),
    },
  ],
};
