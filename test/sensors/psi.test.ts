// Pressure stall information: what is read of it, and what is said when it cannot be.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { stallResources, type Reading } from '../../src/lib/field/signals.js';
import { parsePressure, StallMeter } from '../../src/lib/sensors/psi.js';
import { anyText } from './texts.js';

const text = (someUs: number, fullUs?: number): Reading<string> => ({
  kind: 'read',
  value:
    `some avg10=1.49 avg60=0.36 avg300=0.07 total=${someUs}\n` +
    (fullUs === undefined ? '' : `full avg10=0.00 avg60=0.00 avg300=0.00 total=${fullUs}\n`),
});

describe('the text of a pressure file', () => {
  it('gives both totals', () => {
    expect(
      parsePressure(
        'some avg10=0.00 avg60=0.18 avg300=0.20 total=39867012\n' +
          'full avg10=0.00 avg60=0.17 avg300=0.19 total=33688542\n',
        'io',
      ),
    ).toEqual({ kind: 'read', value: { someUs: 39_867_012, fullUs: 33_688_542 } });
  });

  it('of cpu before 5.13 has no full line, which is a full of 0', () => {
    const old = 'some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\n';
    expect(parsePressure(old, 'cpu')).toEqual({
      kind: 'read',
      value: { someUs: 58_761_459, fullUs: 0 },
    });
  });

  it.each([
    ['nothing', '', 'cpu'],
    ['no full line, of memory', 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n', 'memory'],
    ['a full line that is cut', 'some total=1\nfull avg10=0.00 avg6', 'cpu'],
    ['a negative total', 'some total=-1\nfull total=1\n', 'io'],
    ['a total beyond what is exact', 'some total=99999999999999999999\nfull total=1\n', 'io'],
    ['another file', 'MemTotal:       24684096 kB\n', 'memory'],
  ] as const)('is refused if it is %s', (_what, value, resource) => {
    expect(parsePressure(value, resource)).toEqual({
      kind: 'missing',
      why: `the ${resource} pressure file does not have the form of PSI`,
    });
  });
});

describe('a stall', () => {
  it('has no share at the first look', () => {
    expect(new StallMeter('cpu').look(text(5, 0), 0)).toEqual({
      kind: 'missing',
      why: 'this is the first look, and a share needs two',
    });
  });

  it('is the part of the time since the last look', () => {
    const meter = new StallMeter('io');
    meter.look(text(1_000_000, 500_000), 10_000);
    expect(meter.look(text(1_050_000, 520_000), 10_200)).toEqual({
      kind: 'read',
      value: { some: 0.25, full: 0.1 },
    });
    expect(meter.look(text(1_050_000, 520_000), 10_400)).toEqual({
      kind: 'read',
      value: { some: 0, full: 0 },
    });
  });

  it('is never more than all of the time', () => {
    const meter = new StallMeter('memory');
    meter.look(text(0, 0), 0);
    expect(meter.look(text(300_000, 200_100), 200)).toEqual({
      kind: 'read',
      value: { some: 1, full: 1 },
    });
  });

  it('is missing once when its total goes back', () => {
    const meter = new StallMeter('memory');
    meter.look(text(100, 100), 0);
    expect(meter.look(text(50, 100), 200)).toEqual({
      kind: 'missing',
      why: 'the total of memory stalls went back',
    });
    expect(meter.look(text(100_050, 100), 400)).toMatchObject({ value: { some: 0.5, full: 0 } });
  });

  it('is missing when no time has passed, and loses nothing by it', () => {
    const meter = new StallMeter('cpu');
    meter.look(text(0), 1_000);
    expect(meter.look(text(10_000), 1_000).kind).toBe('missing');
    expect(meter.look(text(10_000), 900).kind).toBe('missing');
    expect(meter.look(text(20_000), 1_200)).toMatchObject({ value: { some: 0.1 } });
  });

  it('begins anew after it was missing, with the reason that the file gave', () => {
    const meter = new StallMeter('cpu');
    meter.look(text(0), 0);
    const gone = { kind: 'missing', why: 'the cgroup was removed' } as const;
    expect(meter.look(gone, 200)).toEqual(gone);
    expect(meter.look(text(100), 400)).toMatchObject({ kind: 'missing' });
    expect(meter.look(text(40_100), 600)).toMatchObject({ value: { some: 0.2 } });
  });

  it('is a share in [0, 1], or missing with a reason, whatever the texts and the times', () => {
    const look = fc.record({
      at: fc.double(),
      read: fc.oneof(
        anyText,
        fc.tuple(fc.nat(), fc.nat()).map(([some, full]) => text(some, full)),
      ),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...stallResources),
        fc.array(look, { maxLength: 8 }),
        (resource, looks) => {
          const meter = new StallMeter(resource);
          for (const { at, read } of looks) {
            const seen = meter.look(read, at);
            if (seen.kind === 'missing') expect(seen.why).not.toBe('');
            else {
              for (const share of [seen.value.some, seen.value.full]) {
                expect(share).toBeGreaterThanOrEqual(0);
                expect(share).toBeLessThanOrEqual(1);
              }
            }
          }
        },
      ),
    );
  });
});
