// What an operator asks before anything runs: which nity is this, and which knobs would
// an agent take from where. Neither needs a dataplane or root.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { knobSchema } from '../../src/lib/config/knobs.js';
import { nity, root } from './shell.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-config-'));

afterAll(() => {
  rmSync(directory, { recursive: true });
});

function knobsFile(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

interface Knob {
  readonly name: string;
  readonly value: number;
  readonly origin: { readonly kind: string; readonly where: string };
}

describe('nity version', () => {
  it('names version, build, law, schema, libbpf, kernel and Node', async () => {
    const { code, stdout } = await nity(['version', '--json']);
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      schemaVersion: 1,
      nity: manifest.version,
      build: expect.stringMatching(/^[0-9a-f]{12}$/) as string,
      law: expect.any(Number) as number,
      schema: expect.stringMatching(/^\d+\.\d+$/) as string,
      libbpf: expect.stringMatching(/^v?\d+\.\d+/) as string,
      addonProblem: null,
      kernel: release(),
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
    });
  });

  it('says the same to people, a line each', async () => {
    const { stdout } = await nity(['version']);
    expect(stdout.split('\n').map((line) => line.split(/\s+/)[0])).toEqual(
      'nity build law schema libbpf kernel node platform'.split(' ').concat(''),
    );
  });
});

describe('nity config', () => {
  it('shows every knob once, as a default where nobody set it', async () => {
    const { stdout } = await nity(['config', '--json']);
    const { knobs } = JSON.parse(stdout) as { knobs: Knob[] };
    expect(knobs.map(({ name }) => name)).toEqual(Object.keys(knobSchema));
    expect(new Set(knobs.map(({ origin }) => origin.kind))).toEqual(new Set(['default']));
  });

  it('says of each that was set who won: flag, then environment, then file', async () => {
    const file = knobsFile('all.yaml', 'tickMs: 300\ntau1Ms: 2500\ntau2Ms: 9000\n');
    const { stdout } = await nity(
      ['config', '--config', file, '--knob', 'tickMs=100', '--changed', '--json'],
      { NITY_TICK_MS: '150', NITY_TAU1_MS: '2000' },
    );
    const { knobs } = JSON.parse(stdout) as { knobs: Knob[] };
    expect(knobs.map(({ name, value, origin }) => [name, value, origin])).toEqual([
      ['tickMs', 100, { kind: 'flag', where: '--knob tickMs=100' }],
      ['tau1Ms', 2000, { kind: 'environment', where: 'NITY_TAU1_MS' }],
      ['tau2Ms', 9000, { kind: 'file', where: `${file}:3:9` }],
    ]);
  });

  it('shows the settings that a variable makes for every command, and their defaults', async () => {
    const asked = async (...args: string[]) => {
      const variables = { NITY_COLOR: 'never', NITY_PIN_PATH: '/sys/fs/bpf/other' };
      const { stdout } = await nity(['config', ...args], variables);
      return stdout;
    };
    const { settings } = JSON.parse(await asked('--json')) as { settings: { flag: string }[] };
    const of = (name: string) => settings.find(({ flag }) => flag === name);
    expect(of('pin-path')).toEqual({
      ...{ flag: 'pin-path', value: '/sys/fs/bpf/other' },
      ...{ environment: 'NITY_PIN_PATH', from: 'environment' },
    });
    expect(of('log-level')).toMatchObject({ value: 'info', from: 'default' });
    expect(of('cgroup')).toMatchObject({ value: null, from: 'default' });
    const changed = await asked('--changed', '--no-headers');
    expect(changed).toMatch(
      /^color +never +NITY_COLOR\npin-path +\/sys\/fs\/bpf\/other +NITY_PIN_PATH\n$/,
    );
  });

  it('prints no line where nobody set anything, without heads', async () => {
    const variables = Object.keys(process.env).filter((name) => name.startsWith('NITY_'));
    const nobodys = Object.fromEntries(
      [...variables, 'NITY_PIN_PATH'].map((name) => [name, undefined]),
    );
    const { code, stdout } = await nity(['config', '--changed', '--no-headers'], nobodys);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
  });

  it('checks a file: says how many it sets, or what is wrong where, and ends with 2', async () => {
    const right = await nity(['config', 'check', knobsFile('right.yaml', 'tickMs: 100\n')]);
    expect(right).toMatchObject({ code: 0, stderr: '' });
    expect(right.stdout).toContain('it sets 1 knob\n');

    const file = knobsFile('wrong.yaml', 'tickMs: 100\ntau1Ms: soon\n');
    const wrong = await nity(['config', 'check', file]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain(`Error: ${file}:2:9: tau1Ms must be a whole number from 100`);
    expect(wrong.stderr).toMatch(/\n→ .+\n$/);
  });

  it('checks the file alone, whatever the environment says', async () => {
    const file = knobsFile('alone.yaml', 'tickMs: 100\n');
    const { code } = await nity(['config', 'check', file], { NITY_TAU1_MS: 'nonsense' });
    expect(code).toBe(0);
  });
});
