// The node's sensors on the machine that the tests run on.
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { stallResources, type Reading, type Usage } from '../../src/lib/field/signals.js';
import { NodeSensors } from '../../src/lib/sensors/node.js';
import { unavailable } from './rig.js';

function valueOf<T>(reading: Reading<T> | undefined): T {
  if (reading?.kind !== 'read') throw new Error(reading?.why ?? 'there is no reading');
  return reading.value;
}

describe.skipIf(unavailable !== undefined)('the sensors on this machine', () => {
  const withPsi = existsSync('/proc/pressure/cpu');
  const cgroup = `/nity-sensors-${process.pid}`;
  let sensors: NodeSensors;

  beforeEach(() => {
    sensors = new NodeSensors({ cgroups: [cgroup] });
  });
  afterEach(() => {
    sensors.close();
  });

  it('tell what is used of what there is', () => {
    const { usage } = sensors.read(performance.now(), 0);
    const memory = valueOf(usage.memory);
    expect(memory.limit).toBe(totalmem());
    // os.freemem() is MemAvailable too; other tests allocate in between.
    expect(Math.abs(memory.used - (totalmem() - freemem()))).toBeLessThan(totalmem() / 4);
    for (const one of ['pids', 'fileDescriptors'] as const) {
      const { used, limit } = valueOf(usage[one]);
      expect(used).toBeGreaterThan(0);
      expect(used).toBeLessThan(limit);
    }
    const others: Reading<Usage>[] = [usage.conntrack, usage.ephemeralPorts];
    for (const reading of others) {
      if (reading.kind === 'missing') expect(reading.why).not.toBe('');
      else expect(reading.value.used).toBeLessThanOrEqual(reading.value.limit);
    }
  });

  it.skipIf(!withPsi)('tell stalls that agree with the totals of the kernel', async () => {
    const someUs = () =>
      Number(/^some .* total=(\d+)$/m.exec(readFileSync('/proc/pressure/cpu', 'utf8'))?.[1]);
    const startMs = performance.now();
    const beforeUs = someUs();
    sensors.read(startMs, 0);
    const startUs = someUs();
    let stalledUs = 0;
    let lastMs = startMs;
    let endUs = startUs;
    for (let look = 0; look < 5; look++) {
      await sleep(100);
      const nowMs = performance.now();
      endUs = someUs();
      stalledUs += valueOf(sensors.read(nowMs, 0).stalls.cpu).some * (nowMs - lastMs) * 1000;
      lastMs = nowMs;
    }
    const elapsedUs = (lastMs - startMs) * 1000;
    expect(stalledUs).toBeLessThanOrEqual(elapsedUs);
    // Between two readings of the sensors the kernel counts on: as long as it likes, if it is busy.
    const slackUs = elapsedUs / 10;
    expect(stalledUs).toBeGreaterThanOrEqual(endUs - startUs - slackUs);
    expect(stalledUs).toBeLessThanOrEqual(someUs() - beforeUs + slackUs);
  });

  it.skipIf(!withPsi)('tell the stalls of a cgroup while it is there', () => {
    const at = join(cgroupRoot(), cgroup);
    mkdirSync(at);
    try {
      sensors.read(1_000, 0);
      const stalls = sensors.read(1_200, 0).cgroups.get(cgroup);
      for (const resource of stallResources) {
        expect(valueOf(stalls?.[resource])).toEqual({ some: 0, full: 0 });
      }
    } finally {
      rmdirSync(at);
    }
    expect(sensors.read(1_400, 0).cgroups.get(cgroup)?.cpu).toEqual({
      kind: 'missing',
      why: `${at}/cpu.pressure is gone, as when its cgroup was removed`,
    });
  });

  it('cost a small part of a tick', async () => {
    const tookMs: number[] = [];
    for (let look = 0; look < 40; look++) {
      await sleep(5);
      const startMs = performance.now();
      sensors.read(startMs, 0);
      tookMs.push(performance.now() - startMs);
    }
    const [least] = tookMs.sort((a, b) => a - b);
    // The least of many: what else runs here is not the sensors' cost.
    expect(least).toBeLessThan(0.3);
  });
});
