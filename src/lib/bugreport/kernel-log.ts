// The kernel's own log, as far as it speaks of BPF, cgroups or memory running out. It
// reads what is there now and never waits for more.
import { closeSync, constants, openSync, readSync } from 'node:fs';

import { errnoOf } from '../errors.js';

/** One record of /dev/kmsg is never longer (CONSOLE_EXT_LOG_MAX). */
const mostRecordBytes = 8192;
const mostLines = 500;
const ofInterest = /\bbpf|cgroup|libbpf|nity|verifier|out of memory|oom-kill|hung_task|conntrack/i;

/** The newest of them, each with its time since the boot in seconds. */
export function kernelLog(device = '/dev/kmsg'): string[] {
  const file = openSync(device, constants.O_RDONLY | constants.O_NONBLOCK);
  const record = Buffer.alloc(mostRecordBytes);
  const lines: string[] = [];
  try {
    for (;;) {
      const bytes = read(file, record);
      if (bytes === 0) break;
      if (bytes === undefined) continue;
      const line = describe(record.toString('utf8', 0, bytes));
      if (line === undefined || !ofInterest.test(line)) continue;
      lines.push(line);
      if (lines.length > mostLines) lines.shift();
    }
  } finally {
    closeSync(file);
  }
  return lines;
}

/** 0 at the end; undefined where the kernel wrote over what was to be read. */
function read(file: number, record: Buffer): number | undefined {
  try {
    return readSync(file, record);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EAGAIN') return 0;
    if (code === 'EPIPE') return undefined;
    throw error;
  }
}

/** "priority,sequence,microseconds,flags;message", Documentation/ABI/testing/dev-kmsg. */
function describe(record: string): string | undefined {
  const [, time, message] = /^\d+,\d+,(\d+),[^;]*;([^\n]*)/.exec(record) ?? [];
  if (time === undefined || message === undefined) return undefined;
  return `[${(Number(time) / 1e6).toFixed(6)}] ${message}`;
}
