// Where knobs come from: who wins, what each source is told when it is wrong, and where.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

import { defaultKnobs, knobSchema } from '../../src/lib/config/knobs.js';
import {
  effectiveKnobs,
  environmentName,
  knobsFrom,
  type KnobSources,
} from '../../src/lib/config/load.js';
import { InputError } from '../../src/lib/errors.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-knobs-'));
const path = join(directory, 'knobs.yaml');

afterAll(() => {
  rmSync(directory, { recursive: true });
});

function sources(given: Partial<Omit<KnobSources, 'file'>> & { text?: string }): KnobSources {
  const { text, flags = [], environment = {} } = given;
  if (text !== undefined) writeFileSync(path, text);
  return { file: text === undefined ? undefined : path, flags, environment };
}

/** What an operator reads: the file's name in the message stands for its path. */
function refusal(given: Parameters<typeof sources>[0]): { message: string; hint: string } {
  try {
    knobsFrom(sources(given));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { message: error.message.replaceAll(path, 'k.yaml'), hint: error.hint };
  }
  return { message: 'accepted', hint: '' };
}

describe('the value of a knob', () => {
  it('is the flag’s, else the environment’s, else the file’s, else the default, and says which', () => {
    const { knobs, origin } = effectiveKnobs(
      sources({
        text: '# by hand\ntickMs: 100\ntau1Ms: 1000\n  \nlatencyMs:   500\n',
        environment: { NITY_TICK_MS: '150', NITY_TAU1_MS: '1500' },
        flags: ['tickMs=250', 'tickMs=300'],
      }),
    );
    expect(knobs).toEqual({ ...defaultKnobs, tickMs: 300, tau1Ms: 1500, latencyMs: 500 });
    expect(origin.tickMs).toEqual({ kind: 'flag', where: '--knob tickMs=300' });
    expect(origin.tau1Ms).toEqual({ kind: 'environment', where: 'NITY_TAU1_MS' });
    expect(origin.latencyMs).toEqual({ kind: 'file', where: `${path}:5:14` });
    expect(origin.epsilon).toEqual({ kind: 'default', where: 'default' });
    expect(Object.keys(origin)).toEqual(Object.keys(knobSchema));
  });

  it.each([
    ['an empty file', ''],
    ['only a comment', '# nothing yet\n'],
    ['an explicit nothing', '---\n~\n'],
  ])('is the default with %s', (_what, text) => {
    expect(knobsFrom(sources({ text }))).toEqual(defaultKnobs);
  });

  it('may be written as a number of any plain decimal form', () => {
    const written = (value: string) => knobsFrom(sources({ flags: [`weightQueue=${value}`] }));
    for (const [text, value] of [
      ['2', 2],
      ['+2', 2],
      ['2.5', 2.5],
      ['.5', 0.5],
      ['25e-1', 2.5],
    ] as const) {
      expect(written(text).weightQueue, text).toBe(value);
    }
  });

  it('may be an alias of another in the file', () => {
    expect(knobsFrom(sources({ text: 'tickMs: &t 150\nlatencyMs: *t\n' })).latencyMs).toBe(150);
  });
});

describe('a wrong knob in the file', () => {
  const correct = 'Correct the file; nothing was changed.';

  it.each([
    [
      'out of range',
      'tau1Ms: 1000\ntickMs: 5',
      'k.yaml:2:9: tickMs must be a whole number from 20 to 10000 (ms), not 5.',
    ],
    [
      'no power of two',
      'slotsPerRoute: 100',
      'k.yaml:1:16: slotsPerRoute must be a power of two from 64 to 65536 (slots), not 100.',
    ],
    [
      'text',
      'tickMs: "200"',
      'k.yaml:1:9: tickMs must be a whole number from 20 to 10000 (ms), not "200".',
    ],
    [
      'empty',
      'tickMs:\n',
      'k.yaml:1:8: tickMs must be a whole number from 20 to 10000 (ms), not nothing.',
    ],
    [
      'yes',
      'viscosity: true',
      'k.yaml:1:12: viscosity must be a number from 0.001 to 1 (ratio), not true.',
    ],
    ['a list', 'tickMs: [200]', 'k.yaml:1:9: tickMs must be a number, not a list or a map.'],
    ['a map', 'tickMs:\n  ms: 5', 'k.yaml:2:3: tickMs must be a number, not a list or a map.'],
    [
      'set twice',
      'tickMs: 100\n\ntickMs: 100',
      'k.yaml:3:1: tickMs is set twice, first at k.yaml:1:1.',
    ],
    ['broken YAML', 'tickMs: 200\n  tau1Ms: 5', /^k\.yaml:\d:\d+: .+\.$/],
    ['a list of knobs', '- tickMs: 5', 'k.yaml:1:1: expected a map from knob to value.'],
    ['no map', 'tickMs=5', 'k.yaml:1:1: expected a map from knob to value.'],
    ['in two documents', 'tickMs: 100\n---\n', /^k\.yaml:2:1: expected one document only\.$/],
  ])('is told with its place if it is %s', (_what, text, message) => {
    const told = refusal({ text });
    if (typeof message === 'string') expect(told.message).toBe(message);
    else expect(told.message).toMatch(message);
    expect(told.hint).toBe(correct);
  });

  it('is told with the place of each when two do not go together', () => {
    expect(refusal({ text: 'tau1Ms: 5000', environment: { NITY_TAU2_MS: '4000' } }).message).toBe(
      'k.yaml:1:9, NITY_TAU2_MS: tau2Ms (4000) must be greater than tau1Ms (5000).',
    );
    expect(refusal({ flags: ['tau1Ms=20000'] }).message).toBe(
      '--knob tau1Ms=20000: tau2Ms (15000) must be greater than tau1Ms (20000).',
    );
  });

  it('cannot exhaust the process by brackets without end, nor by its size', () => {
    for (const text of [
      `tickMs: ${'['.repeat(16_000)}${']'.repeat(16_000)}`,
      `tickMs:\n ${'- '.repeat(16_000)}`,
      '['.repeat(32_000),
      '{a: '.repeat(8_000),
      '? '.repeat(16_000),
    ]) {
      expect(refusal({ text }).message, text.slice(0, 20)).toMatch(/^k\.yaml:\d+:\d+: .+\.$/);
    }
    expect(refusal({ text: '#'.repeat(32_769) }).message).toBe(
      'The knobs file k.yaml has more than 32768 characters.',
    );
  });

  it('is told as a missing file is: which one, and the flag that names it', () => {
    const absent = { file: join(directory, 'absent.yaml'), flags: [], environment: {} };
    expect(() => knobsFrom(absent)).toThrow(`The knobs file ${absent.file} cannot be read: ENOENT`);
  });
});

describe('a wrong knob of the environment or a flag', () => {
  it.each(['abc', '', '1e', '0x10', ' 5', '5 ', '3s', '1_000', 'NaN', 'Infinity', '1,5', '200=1'])(
    'is refused if it is no number: "%s"',
    (text) => {
      const expected = `tickMs must be a whole number from 20 to 10000 (ms), not "${text}".`;
      expect(refusal({ flags: [`tickMs=${text}`] })).toEqual({
        message: `--knob tickMs=${text}: ${expected}`,
        hint: 'Write it as in --knob tickMs=200.',
      });
      expect(refusal({ environment: { NITY_TICK_MS: text } })).toEqual({
        message: `NITY_TICK_MS: ${expected}`,
        hint: 'Set it as in NITY_TICK_MS=200, or unset it.',
      });
    },
  );

  it('is refused out of range, and as a fraction where a whole number is due', () => {
    for (const text of ['19', '10001', '250.5', '-200']) {
      expect(refusal({ flags: [`tickMs=${text}`] }).message).toBe(
        `--knob tickMs=${text}: tickMs must be a whole number from 20 to 10000 (ms), not ${text}.`,
      );
    }
  });

  it.each(['tickMs', '=5', ''])('is refused if the flag sets nothing: "%s"', (flag) => {
    expect(refusal({ flags: [flag] })).toEqual({
      message: `--knob ${flag} sets nothing.`,
      hint: 'Write it as --knob name=value.',
    });
  });

  it('is refused even where another source would win', () => {
    expect(refusal({ environment: { NITY_TICK_MS: 'x' }, flags: ['tickMs=200'] }).message).toMatch(
      /^NITY_TICK_MS: /,
    );
  });
});

describe('a knob that does not exist', () => {
  it.each([
    ['tikMs', 'tickMs'],
    ['tick-ms', 'tickMs'],
    ['TICKMS', 'tickMs'],
    ['viscosty', 'viscosity'],
    ['isolationMaxMS', 'isolationMaxMs'],
  ])('is told with the nearest that does: %s', (given, meant) => {
    const hint = `Did you mean ${meant}? \`nity config\` lists them all.`;
    expect(refusal({ flags: [`${given}=1`] })).toEqual({
      message: `--knob ${given}=1: there is no knob ${given}.`,
      hint,
    });
    expect(refusal({ text: `\n${given}: 1` })).toEqual({
      message: `k.yaml:2:1: there is no knob ${given}.`,
      hint,
    });
  });

  it('is told where all are listed when none is near', () => {
    for (const name of ['colour', 'x'.repeat(5_000), 'toString', '__proto__']) {
      const { message, hint } = refusal({ flags: [`${name}=1`] });
      expect(message).toContain('there is no knob');
      expect(message.length).toBeLessThan(200);
      expect(hint).toBe('`nity config` lists them all.');
    }
  });
});

describe('any source at all', () => {
  it('is either accepted with every knob in its range or refused as bad input', () => {
    const names = fc.oneof(fc.constantFrom(...Object.keys(knobSchema)), fc.string());
    const values = fc.oneof(fc.double().map(String), fc.integer().map(String), fc.string());
    fc.assert(
      fc.property(
        fc.array(fc.tuple(names, values), { maxLength: 4 }),
        fc.array(fc.tuple(names, values), { maxLength: 2 }),
        fc.oneof(fc.string(), fc.array(fc.tuple(names, values), { maxLength: 4 })),
        (flags, environment, file) => {
          const text =
            typeof file === 'string' ? file : file.map(([n, v]) => `${n}: ${v}`).join('\n');
          const given = sources({
            text,
            flags: flags.map(([n, v]) => `${n}=${v}`),
            environment: Object.fromEntries(environment.map(([n, v]) => [environmentName(n), v])),
          });
          try {
            for (const [name, value] of Object.entries(knobsFrom(given))) {
              const { min, max } = knobSchema[name as keyof typeof knobSchema];
              expect(value).toBeGreaterThanOrEqual(min);
              expect(value).toBeLessThanOrEqual(max);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
