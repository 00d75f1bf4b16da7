// A process that records tick after tick until it is killed, and says after each how
// many the disk has.
import { setTimeout as sleep } from 'node:timers/promises';

import { FlightRecorder } from '../../src/lib/recorder/flight.js';
import { about, ticksOf } from './traces.js';

const directory = process.argv[2] ?? '';
const say = (message: string) => process.stderr.write(`${message}\n`);
const recorder = new FlightRecorder({
  record: { kind: 'disk', directory, bytesMost: 1 << 20 },
  log: { info: say, warn: say },
  about: { ...about, run: `run-${process.pid}` },
});
for (const [i, tick] of ticksOf(2000).entries()) {
  recorder.see(tick);
  await sleep(1);
  process.stdout.write(`${i}\n`);
}
