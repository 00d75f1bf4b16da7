// What a node can run out of, and how much of it is in use. Each is one small text of the
// kernel's; when a resource runs out, at its present growth, is for the control law to say.
import { join } from 'node:path';

import type { Exhaustible, Reading, Usage } from '../field/signals.js';
import { KeptFile, missing } from './kept-file.js';

type Text = Reading<string>;

/** A whole number of the kernel's; beyond 2^53 a rounded one, as fs.file-max often is. */
function countOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}

function usage(used: number | undefined, limit: number | undefined, path: string): Reading<Usage> {
  if (used === undefined || limit === undefined) {
    return missing(`${path} does not have the form that is known`);
  }
  if (limit === 0) return missing(`${path} sets no limit`);
  return { kind: 'read', value: { used, limit } };
}

/** In bytes. MemAvailable is the kernel's estimate of what can be had without swapping. */
export function memoryUsage(meminfo: Text): Reading<Usage> {
  if (meminfo.kind === 'missing') return meminfo;
  const bytes = (name: string) => {
    const line = meminfo.value.split('\n').find((text) => text.startsWith(`${name}:`));
    const kib = countOf(/^\S+\s+(\d+) kB$/.exec(line ?? '')?.[1]);
    return kib === undefined ? undefined : kib * 1024;
  };
  const limit = bytes('MemTotal');
  const available = bytes('MemAvailable');
  const used =
    limit === undefined || available === undefined ? undefined : Math.max(0, limit - available);
  return usage(used, limit, '/proc/meminfo');
}

/**
 * Threads, for each takes a pid: those that exist, of the fewer of what pid_max and
 * threads-max allow. A cgroup's pids.max may bind earlier for what is in it.
 */
export function pidUsage(loadavg: Text, pidMax: Text, threadsMax: Text): Reading<Usage> {
  if (loadavg.kind === 'missing') return loadavg;
  if (pidMax.kind === 'missing') return pidMax;
  if (threadsMax.kind === 'missing') return threadsMax;
  const threads = /^\S+ \S+ \S+ \d+\/(\d+) /.exec(loadavg.value)?.[1];
  const most = countOf(pidMax.value.trim());
  const mostThreads = countOf(threadsMax.value.trim());
  const limit =
    most === undefined || mostThreads === undefined ? undefined : Math.min(most, mostThreads);
  return usage(countOf(threads), limit, '/proc/loadavg');
}

/**
 * Open files of the node. Where fs.file-max is as good as infinite, as systemd sets it,
 * this never fills: a process then meets its own RLIMIT_NOFILE first, which is not seen here.
 */
export function fileDescriptorUsage(fileNr: Text): Reading<Usage> {
  if (fileNr.kind === 'missing') return fileNr;
  const [allocated, free, most] = fileNr.value.trim().split(/\s+/, 3).map(countOf);
  const used =
    allocated === undefined || free === undefined ? undefined : Math.max(0, allocated - free);
  return usage(used, most, '/proc/sys/fs/file-nr');
}

/** Of this network namespace, which is the node's for an agent with the host's network. */
export function conntrackUsage(count: Text, max: Text): Reading<Usage> {
  if (count.kind === 'missing') return count;
  if (max.kind === 'missing') return max;
  const [used, limit] = [count, max].map(({ value }) => countOf(value.trim()));
  return usage(used, limit, '/proc/sys/net/netfilter/nf_conntrack_max');
}

function socketsOf(sockstat: string, protocol: 'TCP' | 'TCP6', state: string): number | undefined {
  const line = sockstat.split('\n').find((text) => text.startsWith(`${protocol}: `));
  const words = line?.split(' ') ?? [];
  const at = words.indexOf(state);
  return at === -1 ? undefined : countOf(words[at + 1]);
}

/**
 * An upper bound of the ephemeral ports in use: all TCP sockets of this network namespace
 * and those in TIME-WAIT, against the size of ip_local_port_range.
 *
 * While it is below the limit, no destination has used up the ports. The reverse does not
 * hold: listening and accepted sockets, which take no such port, are counted too, and
 * sockets to different destinations may share a port, but how many go to which is not seen
 * here. So a count beyond the limit says nothing, and is not a reading: a busy server would
 * seem exhausted for good. Nor are ip_local_reserved_ports and sockets that are bound but
 * not connected counted.
 */
export function ephemeralPortUsage(sockstat: Text, sockstat6: Text, range: Text): Reading<Usage> {
  if (sockstat.kind === 'missing') return sockstat;
  if (range.kind === 'missing') return range;
  const path = '/proc/net/sockstat';
  const inUse = socketsOf(sockstat.value, 'TCP', 'inuse');
  const timeWait = socketsOf(sockstat.value, 'TCP', 'tw');
  // A kernel without IPv6 has no such file; TIME-WAIT is counted for both in the other.
  const inUse6 = sockstat6.kind === 'missing' ? 0 : socketsOf(sockstat6.value, 'TCP6', 'inuse');
  const [first, last] = range.value.trim().split(/\s+/, 2).map(countOf);
  if (first === undefined || last === undefined || last < first) {
    return usage(undefined, undefined, '/proc/sys/net/ipv4/ip_local_port_range');
  }
  if (inUse === undefined || timeWait === undefined || inUse6 === undefined) {
    return usage(undefined, undefined, path);
  }
  const used = inUse + timeWait + inUse6;
  const limit = last - first + 1;
  if (used > limit) {
    return missing(`there are more TCP sockets (${used}) than ephemeral ports (${limit})`);
  }
  return usage(used, limit, path);
}

export class LimitSensors {
  private readonly files: Readonly<Record<string, KeptFile>>;
  private readonly sensors: Readonly<Record<Exhaustible, (nowMs: number) => Reading<Usage>>>;

  /** `root` holds proc/; it is / but for tests. */
  constructor(root = '/') {
    const file = (path: string, ifAbsent = 'the kernel does not tell it') =>
      new KeptFile(join(root, path), ifAbsent);
    const noTracking = 'connection tracking is not loaded';
    const files = {
      meminfo: file('/proc/meminfo'),
      loadavg: file('/proc/loadavg'),
      pidMax: file('/proc/sys/kernel/pid_max'),
      threadsMax: file('/proc/sys/kernel/threads-max'),
      fileNr: file('/proc/sys/fs/file-nr'),
      tracked: file('/proc/sys/net/netfilter/nf_conntrack_count', noTracking),
      mostTracked: file('/proc/sys/net/netfilter/nf_conntrack_max', noTracking),
      sockstat: file('/proc/net/sockstat'),
      sockstat6: file('/proc/net/sockstat6'),
      portRange: file('/proc/sys/net/ipv4/ip_local_port_range'),
    };
    this.files = files;
    this.sensors = {
      memory: (nowMs) => memoryUsage(files.meminfo.read(nowMs)),
      pids: (nowMs) =>
        pidUsage(files.loadavg.read(nowMs), files.pidMax.read(nowMs), files.threadsMax.read(nowMs)),
      fileDescriptors: (nowMs) => fileDescriptorUsage(files.fileNr.read(nowMs)),
      conntrack: (nowMs) =>
        conntrackUsage(files.tracked.read(nowMs), files.mostTracked.read(nowMs)),
      ephemeralPorts: (nowMs) =>
        ephemeralPortUsage(
          files.sockstat.read(nowMs),
          files.sockstat6.read(nowMs),
          files.portRange.read(nowMs),
        ),
    };
  }

  read(nowMs: number): Readonly<Record<Exhaustible, Reading<Usage>>> {
    const { memory, pids, fileDescriptors, conntrack, ephemeralPorts } = this.sensors;
    return {
      memory: memory(nowMs),
      pids: pids(nowMs),
      fileDescriptors: fileDescriptors(nowMs),
      conntrack: conntrack(nowMs),
      ephemeralPorts: ephemeralPorts(nowMs),
    };
  }

  close(): void {
    for (const file of Object.values(this.files)) file.close();
  }
}
