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

/**
 * Ephemeral ports towards the backend that most connections of this node go to: `mostOpen`,
 * of the size of ip_local_port_range. A port is taken for one destination only, so sockets
 * to others, and those that were accepted, do not count; nor do those in TIME-WAIT, which
 * the kernel reuses before it runs out, nor sockets past the dataplane.
 */
export function ephemeralPortUsage(mostOpen: number, range: Text): Reading<Usage> {
  if (range.kind === 'missing') return range;
  const [first, last] = range.value.trim().split(/\s+/, 2).map(countOf);
  const limit =
    first === undefined || last === undefined || last < first ? undefined : last - first + 1;
  return usage(mostOpen, limit, '/proc/sys/net/ipv4/ip_local_port_range');
}

export class LimitSensors {
  private readonly files: Readonly<Record<string, KeptFile>>;
  private readonly sensors: Readonly<
    Record<Exhaustible, (nowMs: number, mostOpen: number) => Reading<Usage>>
  >;

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
      ephemeralPorts: (nowMs, mostOpen) =>
        ephemeralPortUsage(mostOpen, files.portRange.read(nowMs)),
    };
  }

  /** `mostOpen` is the count of open connections of the backend that has the most. */
  read(nowMs: number, mostOpen: number): Readonly<Record<Exhaustible, Reading<Usage>>> {
    const { memory, pids, fileDescriptors, conntrack, ephemeralPorts } = this.sensors;
    return {
      memory: memory(nowMs, mostOpen),
      pids: pids(nowMs, mostOpen),
      fileDescriptors: fileDescriptors(nowMs, mostOpen),
      conntrack: conntrack(nowMs, mostOpen),
      ephemeralPorts: ephemeralPorts(nowMs, mostOpen),
    };
  }

  close(): void {
    for (const file of Object.values(this.files)) file.close();
  }
}
