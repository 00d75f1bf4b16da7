// mosquitto, an MQTT 3.1.1 broker: subscribers that hear nothing, publishers with QoS 0 and 1.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Conversation, converse } from './conversation.js';
import type { Software } from './software.js';

function int16(value: number): string {
  return String.fromCharCode(value >> 8, value & 0xff);
}

const text = (value: string) => int16(value.length) + value;
/** Bodies here are shorter than 128 bytes, so that one byte tells the length. */
const packet = (first: number, body: string) => String.fromCharCode(first, body.length) + body;

const keepAliveSeconds = 300;
const publishAtLeastOnce = 0x32;
const publishOnce = 0x30;
const publishRetained = 0x31;
let clients = 0;

/** A clean session. */
const hello = () =>
  packet(
    0x10,
    `${text('MQTT')}\x04\x02${int16(keepAliveSeconds)}${text(`nity-${process.pid}-${clients++}`)}`,
  );
const subscribe = (topic: string) => packet(0x82, `${int16(1)}${text(topic)}\0`);
const bye = packet(0xe0, '');

/* eslint-disable no-control-regex -- the protocol is binary. */
const welcome = /\x20\x02\0\0/;
const subscribed = /\x90\x03\0\x01\0/;
const acknowledged = /\x40\x02\0\x01/;
/* eslint-enable no-control-regex */
const named = /name=([^;]*);/;

async function logIn(conversation: Conversation): Promise<void> {
  await conversation.exchange(hello(), welcome);
}

export const mosquitto: Software = {
  what: 'mosquitto: idle subscribers, publishers with QoS 0 and 1',
  instances: 4,
  start: async (daemons, instances) => {
    await Promise.all(
      instances.map(async ({ name, port }) => {
        const file = join(daemons.directory(name), 'mosquitto.conf');
        writeFileSync(
          file,
          `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n`,
        );
        await daemons.start(name, port, 'mosquitto', ['-c', file]);
        const conversation = new Conversation('127.0.0.1', port);
        await logIn(conversation);
        conversation.say(packet(publishRetained, `${text('name')}name=${name};`));
        await conversation.exchange(subscribe('name'), named);
        conversation.close();
      }),
    );
  },
  idle: {
    count: 60,
    open: async (vip) => {
      const conversation = new Conversation(vip);
      await logIn(conversation);
      await conversation.exchange(subscribe('news'), subscribed);
      return conversation;
    },
  },
  traffic: [
    {
      what: 'subscribers that leave with their first message',
      perSecond: 25,
      once: (vip) =>
        converse(vip, async (conversation) => {
          await logIn(conversation);
          const heard = await conversation.exchange(subscribe('name'), named);
          conversation.say(bye);
          return named.exec(heard)?.[1] ?? heard;
        }),
    },
    {
      what: 'publishers with QoS 0',
      perSecond: 20,
      expected: ['published'],
      once: (vip) =>
        converse(vip, async (conversation) => {
          await logIn(conversation);
          conversation.say(packet(publishOnce, `${text('other')}reading`) + bye);
          return 'published';
        }),
    },
    {
      what: 'publishers with QoS 1',
      perSecond: 20,
      expected: ['published'],
      once: (vip) =>
        converse(vip, async (conversation) => {
          await logIn(conversation);
          await conversation.exchange(
            packet(publishAtLeastOnce, `${text('other')}${int16(1)}reading`),
            acknowledged,
          );
          return 'published';
        }),
    },
  ],
};
