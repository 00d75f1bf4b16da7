// A trace file cut, damaged, or no trace at all: what is read of it, and what is said.
import { describe, expect, it } from 'vitest';

import { DamagedTraceError, frames, preludeBytes } from '../../src/lib/recorder/frame.js';
import { readTrace, type TraceEvent } from '../../src/lib/recorder/reader.js';
import { ticksOf, traceOf } from './traces.js';

const bytes = traceOf(
  ticksOf(6, { ids: ['a', 'b'], requestsPerSecond: 20 }, (world, tick) => {
    if (tick === 2) world.behaviours.set('b', 'refusing');
  }),
);
/** Where each record ends; the first is the header. */
const ends = [...frames('whole', bytes)].map(({ offset }) => offset).slice(1);
ends.push(bytes.length);
const headerEnd = ends[0] ?? 0;

function read(file: Buffer): { readonly events: TraceEvent[]; readonly cutAt: number | null } {
  const reading = readTrace('t', file).events();
  const events: TraceEvent[] = [];
  for (let next = reading.next(); ; next = reading.next()) {
    if (next.done === true) return { events, cutAt: next.value };
    events.push(next.value);
  }
}

function failure(file: Buffer): DamagedTraceError {
  try {
    read(file);
  } catch (error) {
    if (error instanceof DamagedTraceError) return error;
    throw error;
  }
  throw new Error('it was read without complaint');
}

describe('a trace whose end is missing', () => {
  const whole = read(bytes).events;

  it('is read to its last whole record, wherever it was cut', () => {
    for (let length = headerEnd; length < bytes.length; length++) {
      const { events, cutAt } = read(bytes.subarray(0, length));
      const kept = ends.filter((end) => end <= length).length - 1;
      expect(events.length, `cut at ${length}`).toBe(kept);
      expect(cutAt, `cut at ${length}`).toBe(ends.includes(length) ? null : ends[kept]);
      if (ends.includes(length + 1)) expect(events).toEqual(whole.slice(0, kept));
    }
  });

  it('is no trace yet while its header is not whole', () => {
    for (let length = 0; length < headerEnd; length++) {
      expect(failure(bytes.subarray(0, length)).offset, `cut at ${length}`).toBeLessThanOrEqual(
        length,
      );
    }
  });

  it('may end in zeros, as after a power failure', () => {
    const { events, cutAt } = read(Buffer.concat([bytes, Buffer.alloc(4096)]));
    expect(events).toEqual(whole);
    expect(cutAt).toBe(bytes.length);
  });
});

describe('a trace that was damaged', () => {
  it('is refused at the record in which a byte differs, whichever it is', () => {
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at);
      const { offset } = failure(damaged);
      const begins = [0, preludeBytes, ...ends].filter((begin) => begin <= at).at(-1) ?? 0;
      expect(offset, `byte ${at}`).toBe(begins);
    }
  });

  it('is told from a foreign file', () => {
    for (const foreign of [Buffer.alloc(0), Buffer.from('services:\n'), Buffer.alloc(64)]) {
      expect(failure(foreign)).toMatchObject({ offset: 0, exitCode: 2 });
      expect(failure(foreign).message).toContain('not a trace of nity');
    }
  });
});
