// What a node can run out of, as each kernel tells it.
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Reading, Usage } from '../../src/lib/field/signals.js';
import {
  conntrackUsage,
  ephemeralPortUsage,
  fileDescriptorUsage,
  LimitSensors,
  memoryUsage,
  pidUsage,
} from '../../src/lib/sensors/limits.js';
import { anyText } from './texts.js';

const fixtures = join(import.meta.dirname, '../fixtures/sensors');
const text = (value: string): Reading<string> => ({ kind: 'read', value });
const used = (used: number, limit: number): Reading<Usage> => ({
  kind: 'read',
  value: { used, limit },
});
const absent = { kind: 'missing', why: 'there is no such file' } as const;

function limitsOf(kernel: string) {
  const sensors = new LimitSensors(join(fixtures, kernel));
  try {
    return sensors.read(0, 12);
  } finally {
    sensors.close();
  }
}

describe('the limits of a node', () => {
  it('are all read of 6.1', () => {
    expect(limitsOf('6.1-v2')).toEqual({
      memory: used((32_858_488 - 21_406_280) * 1024, 32_858_488 * 1024),
      pids: used(2214, 256_867),
      fileDescriptors: used(12_480, 2 ** 63),
      conntrack: used(61_203, 262_144),
      ephemeralPorts: used(12, 28_232),
    });
  });

  it('are all read of 6.18', () => {
    for (const reading of Object.values(limitsOf('6.18-hybrid'))) {
      expect(reading).toMatchObject({ kind: 'read' });
    }
  });

  it('of connections tracked are missing where tracking is not loaded', () => {
    expect(limitsOf('4.18-no-psi').conntrack).toMatchObject({
      why: expect.stringMatching(
        /^connection tracking is not loaded: .*nf_conntrack_count does not exist$/,
      ) as string,
    });
  });

  it('are missing, each with its reason, where nothing can be read', () => {
    for (const reading of Object.values(limitsOf('none'))) {
      expect(reading).toMatchObject({
        kind: 'missing',
        why: expect.stringContaining('does not exist') as string,
      });
    }
  });
});

describe('memory', () => {
  it('is missing on a kernel that does not estimate what is available', () => {
    expect(memoryUsage(text('MemTotal:        1024 kB\nMemFree:          512 kB\n'))).toEqual({
      kind: 'missing',
      why: '/proc/meminfo does not have the form that is known',
    });
  });
});

describe('pids', () => {
  it('are limited by the smaller of two', () => {
    const loadavg = text('0.30 0.19 0.19 5/140 2433\n');
    expect(pidUsage(loadavg, text('32768\n'), text('192731\n'))).toEqual(used(140, 32_768));
    expect(pidUsage(loadavg, text('4194304\n'), text('192731\n'))).toEqual(used(140, 192_731));
  });
});

describe('file descriptors', () => {
  it('that are allocated but free are not in use', () => {
    expect(fileDescriptorUsage(text('627\t27\t2466183\n'))).toEqual(used(600, 2_466_183));
  });
});

describe('connection tracking', () => {
  it('without a limit cannot be exhausted', () => {
    expect(conntrackUsage(text('5\n'), text('0\n'))).toEqual({
      kind: 'missing',
      why: '/proc/sys/net/netfilter/nf_conntrack_max sets no limit',
    });
  });
});

describe('ephemeral ports', () => {
  it('are those that go to one backend, of the range', () => {
    expect(ephemeralPortUsage(450, text('40000\t40999\n'))).toEqual(used(450, 1000));
  });

  it('are missing if their range is upside down', () => {
    expect(ephemeralPortUsage(1, text('2\t1\n'))).toMatchObject({ kind: 'missing' });
  });
});

describe('any text', () => {
  type UsageOf = (...texts: readonly Reading<string>[]) => Reading<Usage>;
  const missing: Reading<string> = absent;
  const parsers: readonly (readonly [string, number, UsageOf])[] = [
    ['memory', 1, (a = missing) => memoryUsage(a)],
    ['pids', 3, (a = missing, b = missing, c = missing) => pidUsage(a, b, c)],
    ['fileDescriptors', 1, (a = missing) => fileDescriptorUsage(a)],
    ['conntrack', 2, (a = missing, b = missing) => conntrackUsage(a, b)],
    ['ephemeralPorts', 1, (a = missing) => ephemeralPortUsage(7, a)],
  ];

  it.each(parsers)('is a usage of %s, or missing with a reason', (_name, count, usageOf) => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: count, maxLength: count }), (texts) => {
        const usage = usageOf(...texts);
        if (usage.kind === 'missing') expect(usage.why).not.toBe('');
        else {
          expect(usage.value.used).toBeGreaterThanOrEqual(0);
          expect(usage.value.limit).toBeGreaterThan(0);
        }
      }),
    );
  });
});
