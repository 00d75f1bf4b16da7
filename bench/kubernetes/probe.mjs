// Loaded into the agent that is measured: says, when it is asked, how much memory the process
// has and had, and for how long its event loop has been blocked since it was last asked.
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The delay that is told has the timer's own period in it. */
const resolutionMs = 1;
const delay = monitorEventLoopDelay({ resolution: resolutionMs });
delay.enable();
let cpu = process.cpuUsage();

function ofStatus(name) {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) / 1024;
}

process.on('message', () => {
  const { user, system } = process.cpuUsage(cpu);
  cpu = process.cpuUsage();
  process.send?.({
    rssMb: ofStatus('VmRSS'),
    peakRssMb: ofStatus('VmHWM'),
    // Of the kernel's maps, which are there without the agent too.
    mappedMb: ofStatus('RssFile') + ofStatus('RssShmem'),
    heapMb: process.memoryUsage().heapUsed / 2 ** 20,
    longestBlockMs: delay.max / 1e6 - resolutionMs,
    p99BlockMs: delay.percentile(99) / 1e6 - resolutionMs,
    cpuMs: (user + system) / 1e3,
  });
  delay.reset();
});
// Listening must not keep the agent alive.
process.channel?.unref();
