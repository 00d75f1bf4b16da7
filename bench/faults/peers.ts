// Who balances, and how each is set up in front of the same backends. The rest
// of the bench knows a peer by its name and by the address that it serves.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

import { openNity } from './nity.js';
import { vipPort } from './plan.js';
import { requireRunning, type Service, type Stage, type Undo } from './stage.js';

export const peerNames = [
  'kernel-random',
  'haproxy-roundrobin',
  'haproxy-leastconn',
  'nity-plain-single',
  'nity-plain-twin',
  'nity-auto',
  'nity-single',
  'nity-twin',
] as const;
export type PeerName = (typeof peerNames)[number];

/** Debian keeps them here, and not every user's PATH has it. */
const nft = '/usr/sbin/nft';
const haproxyPath = '/usr/sbin/haproxy';

/** Every process of the bench its own addresses, and every peer too. */
function vipOf(name: PeerName): string {
  return `127.96.${process.pid % 250}.${peerNames.indexOf(name) + 1}`;
}

export async function openPeer(name: PeerName, stage: Stage, undo: Undo): Promise<Service> {
  const vip = vipOf(name);
  switch (name) {
    case 'kernel-random':
      return openKernelRandom(vip, stage, undo);
    case 'haproxy-roundrobin':
      return openHaproxy(vip, 'roundrobin', stage, undo);
    case 'haproxy-leastconn':
      return openHaproxy(vip, 'leastconn', stage, undo);
    case 'nity-plain-single':
      return openNity(vip, { gear: 'single', agent: 'gone' }, stage, undo);
    case 'nity-plain-twin':
      return openNity(vip, { gear: 'twin', agent: 'gone' }, stage, undo);
    case 'nity-auto':
      return openNity(vip, { gear: 'auto', agent: 'runs' }, stage, undo);
    case 'nity-single':
      return openNity(vip, { gear: 'single', agent: 'runs' }, stage, undo);
    case 'nity-twin':
      return openNity(vip, { gear: 'twin', agent: 'runs' }, stage, undo);
  }
}

/** As kube-proxy's nftables mode does it: one draw a connection, in the kernel's NAT. */
function openKernelRandom(vip: string, stage: Stage, undo: Undo): Service {
  const table = `nity_faults_${process.pid}`;
  const choices = stage.ports.map((port, i) => `${i} : 127.0.0.1 . ${port}`).join(', ');
  const rules = `table ip ${table} {
  chain out {
    type nat hook output priority -100
    ip daddr ${vip} tcp dport ${vipPort} dnat ip to numgen random mod ${stage.ports.length} map { ${choices} }
  }
}`;
  execFileSync(nft, ['-f', '-'], { input: rules });
  undo.push(() => {
    execFileSync(nft, ['delete', 'table', 'ip', table]);
  });
  return {
    vip,
    cgroup: stage.cgroup('kernel-random', undo),
    requireAlive: () => {
      execFileSync(nft, ['list', 'table', 'ip', table], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    },
  };
}

/** With the timeouts of Debian's own configuration file, and the documented health checks. */
function haproxyConfiguration(vip: string, balance: string, ports: readonly number[]): string {
  const servers = ports.map(
    (port, i) => `  server backend-${i} 127.0.0.1:${port} check inter 2s\n`,
  );
  return `defaults
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

async function openHaproxy(
  vip: string,
  balance: 'roundrobin' | 'leastconn',
  stage: Stage,
  undo: Undo,
): Promise<Service> {
  const file = join(stage.directory, `${balance}.cfg`);
  writeFileSync(file, haproxyConfiguration(vip, balance, stage.ports));
  const haproxy = stage.spawn(haproxyPath, ['-q', '-db', '-f', file], undo);
  await stage.until('haproxy to listen', () => {
    requireRunning(haproxy, 'haproxy');
    return listens(vip);
  });
  return {
    vip,
    cgroup: stage.cgroup(`haproxy-${balance}`, undo),
    requireAlive: () => {
      requireRunning(haproxy, 'haproxy');
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
