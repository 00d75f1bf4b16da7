// Who balances, and how each is set up in front of the same backends. The rest
// of the bench knows a peer by its name and by the address that it serves.
import { execFileSync } from 'node:child_process';

import type { Undo } from '../undo.js';
import { openHaproxy } from './haproxy.js';
import { openNity } from './nity.js';
import { vipPort } from './plan.js';
import type { Service, Stage } from './stage.js';

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

/** Debian keeps it here, and not every user's PATH has it. */
const nft = '/usr/sbin/nft';

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
