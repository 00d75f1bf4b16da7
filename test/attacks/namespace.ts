// A network namespace of a test's own. It goes with its keeper, a process that sleeps: also when
// the test was killed.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';

import { patiently } from '../servers/patience.js';

/** No test lasts so long. */
const mostSeconds = 600;

export class Namespace {
  /** A device that nothing answers at. */
  readonly deadDevice = 'dead0';

  private constructor(private readonly keeper: ChildProcess) {}

  static async make(): Promise<Namespace> {
    const keeper = spawn('unshare', ['--net', 'sleep', String(mostSeconds)], { stdio: 'ignore' });
    const made = new Namespace(keeper);
    await patiently('in its namespace', () => networkOf(keeper.pid) !== networkOf('self'));
    const { deadDevice: dead } = made;
    // The segments that come out at its other end have a loopback address, and are dropped there.
    for (const words of [
      'link set lo up',
      `link add ${dead} type veth peer name ${dead}-end`,
      `link set ${dead}-end up`,
      `link set ${dead} up arp off`,
      `address add 10.203.7.1/30 dev ${dead}`,
    ]) {
      made.run('ip', words.split(' '));
    }
    return made;
  }

  /** A command that runs another one in here. */
  get within(): readonly string[] {
    return ['nsenter', '--target', String(this.keeper.pid), '--net', '--'];
  }

  private run(program: string, words: readonly string[]): void {
    execFileSync('env', [...this.within, program, ...words], {
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    });
  }

  async close(): Promise<void> {
    const ended = once(this.keeper, 'exit');
    if (this.keeper.kill('SIGKILL')) await ended;
  }
}

function networkOf(pid: number | string | undefined): string {
  return readlinkSync(`/proc/${pid ?? 0}/ns/net`);
}
