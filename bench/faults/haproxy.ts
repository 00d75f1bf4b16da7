// HAProxy as a peer: its configuration, its process, and what its statistics
// say of the connects that its clients never hear of.
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

import type { Undo } from '../undo.js';
import { vipPort } from './plan.js';
import { hurry, requireRunning, type Service, type Stage } from './stage.js';

export type Balance = 'roundrobin' | 'leastconn';

/** Debian keeps it here, and not every user's PATH has it. */
const haproxy = '/usr/sbin/haproxy';
const statisticsMsMax = 2000;

/** With the timeouts of Debian's own configuration file, and the documented health checks. */
function configuration(stage: Stage, vip: string, balance: Balance, socket: string): string {
  const servers = stage.ports.map(
    (port, i) => `  server backend-${i} 127.0.0.1:${port} check inter 2s\n`,
  );
  return `global
  stats socket ${socket} mode 600 level user
defaults
  mode tcp
  timeout connect 5s
  timeout client 50s
  timeout server 50s
  retries 3
  option redispatch
listen service
  bind ${vip}:${vipPort}
  balance ${balance}
${servers.join('')}`;
}

export async function openHaproxy(
  vip: string,
  balance: Balance,
  stage: Stage,
  undo: Undo,
): Promise<Service> {
  const file = join(stage.directory, `${balance}.cfg`);
  const socket = join(stage.directory, `${balance}.sock`);
  writeFileSync(file, configuration(stage, vip, balance, socket));
  const child = stage.spawn(haproxy, ['-q', '-db', '-f', file], undo);
  hurry(child);
  await stage.until('haproxy to listen', () => {
    requireRunning(child, 'haproxy');
    return listens(vip);
  });
  return {
    vip,
    cgroup: stage.cgroup(`haproxy-${balance}`, undo),
    retries: () => retries(socket),
    requireAlive: () => {
      requireRunning(child, 'haproxy');
    },
  };
}

function listens(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: vipPort });
    socket.on('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', () => {
      resolve(false);
    });
  });
}

/** By the names of the columns, as HAProxy's management guide asks (9.1). */
async function retries(socket: string): Promise<number> {
  const [head = '', ...rows] = (await ask(socket, 'show stat\n')).split('\n');
  const columns = head.replace('# ', '').split(',');
  const total = rows.map((row) => row.split(',')).find(([, name]) => name === 'BACKEND');
  const figure = (column: string) => Number(total?.[columns.indexOf(column)] ?? NaN);
  return figure('wretr') + figure('wredis');
}

async function ask(path: string, question: string): Promise<string> {
  const socket = connect({ path });
  const late = AbortSignal.timeout(statisticsMsMax);
  late.addEventListener('abort', () => socket.destroy(new Error('haproxy tells no statistics')));
  socket.write(question);
  let answer = '';
  for await (const bytes of socket) answer += String(bytes);
  return answer;
}
