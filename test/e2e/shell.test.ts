// What a shell gets of nity: the first page, help where a word is wrong, and completion,
// tried in the shells themselves as far as they are installed.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readCatalogue, type CommandInfo } from '../../src/lib/cli/catalogue.js';
import { nity, root, runProgram } from './shell.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-shell-'));
const { commands } = readCatalogue(root);

afterAll(() => {
  rmSync(directory, { recursive: true });
});

describe('nity alone', () => {
  it('lists every command once, within 100 columns, and says where to begin', async () => {
    const { code, stdout, stderr } = await nity([]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const word of new Set(commands.map(({ words: [first = ''] }) => first))) {
      expect(stdout.match(new RegExp(`^  ${word} `, 'gm')), word).toHaveLength(1);
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(stdout).toContain('nity doctor');
  });

  it.each([['--help'], ['-h'], ['help']])('says the same as nity %s', async (word) => {
    expect((await nity([word])).stdout).toBe((await nity([])).stdout);
  });

  it.skipIf(process.getuid?.() !== 0)('tells who is not root what works without', async () => {
    const asNobody = ['--reuid', '65534', '--clear-groups', process.execPath, 'bin/run.js'];
    const { code, stdout } = await runProgram('setpriv', asNobody);
    expect(code).toBe(0);
    expect(stdout).toContain('You are not root.');
    expect(stdout).toContain('nity demo --model');
  });

  it.skipIf(process.getuid?.() !== 0)(
    'refuses load to who is not root with 3 and what to do',
    async () => {
      const asNobody = [
        '--reuid',
        '65534',
        '--clear-groups',
        process.execPath,
        'bin/run.js',
        'load',
      ];
      const { code, stderr } = await runProgram('setpriv', asNobody);
      expect(code).toBe(3);
      expect(stderr).toMatch(
        /^Error: .+ to uid 65534, which lacks CAP_BPF.*\.\n→ Run it with sudo, .+\n$/,
      );
    },
  );
});

describe('a word that is wrong', () => {
  it.each([
    [['vresion'], 'nity vresion is not a command.', 'Did you mean `nity version`?'],
    [['slots'], 'nity slots is not a command.', 'Did you mean `nity inspect slots`?'],
    [['inspect', 'slotz'], 'nity inspect slotz is not a command.', '`nity inspect slots`?'],
    [['inspect', 'slots', '--rout', 'x'], 'Nonexistent flag: --rout.', 'Did you mean --route?'],
    [['flip', '--dryrun'], 'Nonexistent flag: --dryrun.', 'Did you mean --dry-run?'],
  ])('%j is told in a sentence, with what was meant', async (words, happened, meant) => {
    const { code, stdout, stderr } = await nity(words, { NODE_ENV: 'production' });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    const [first, second, ...others] = stderr.split('\n');
    expect(first).toBe(`Error: ${happened}`);
    expect(second).toMatch(/^→ /);
    expect(second).toContain(meant);
    expect(others).toEqual(['']);
  });

  it('is not guessed at where nothing is near', async () => {
    const { stderr } = await nity(['quux']);
    expect(stderr).toBe('Error: nity quux is not a command.\n→ `nity --help` lists them all.\n');
  });

  it('is told to machines in one document', async () => {
    const { code, stdout, stderr } = await nity(['slots', '--json'], { NODE_ENV: 'production' });
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      error: { code: 'BAD_USAGE', hint: expect.stringContaining('inspect slots') as string },
    });
  });
});

const has = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;
const scripts = new Map<string, string>();

beforeAll(async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await nity(['completion', shell]);
    expect(code).toBe(0);
    const path = join(directory, `nity.${shell}`);
    writeFileSync(path, stdout);
    scripts.set(shell, path);
  }
});

describe('completion in bash', () => {
  /** What bash offers for the last word. */
  const offered = (...words: readonly string[]): string[] => {
    const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nity; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const path = scripts.get('bash') ?? '';
    return execFileSync('bash', ['-euc', script, 'bash', path, 'nity', ...words])
      .toString()
      .split('\n')
      .filter((word) => word !== '');
  };

  it('offers commands, then a topic’s views', () => {
    expect(offered('ins')).toEqual(['inspect']);
    expect(offered('inspect', '')).toEqual(
      commands.filter(({ words }) => words[0] === 'inspect').map(({ words: [, view] }) => view),
    );
    expect(offered('inspect', 'sl')).toEqual(['slots']);
  });

  it.each(commands.map((command) => [command.words.join(' '), command] as const))(
    'offers every flag of %s',
    (_name: string, { words, flags }: CommandInfo) => {
      expect(offered(...words, '--').sort()).toEqual(
        [...flags.map(({ name }) => `--${name}`), '--help'].sort(),
      );
    },
  );

  it('offers the values of a flag and of an argument, however the flag is written', () => {
    expect(offered('load', '--color', '')).toEqual(['auto', 'always', 'never']);
    expect(offered('load', '--color', '=', 'al')).toEqual(['always']);
    expect(offered('set-mode', 'so')).toEqual(['soft']);
  });

  it('leaves files to the shell where any value will do', () => {
    expect(offered('replay', '')).toEqual([]);
    expect(offered('run-agent', '--services', '')).toEqual([]);
  });
});

describe.each(['zsh', 'fish'])('completion in %s', (shell) => {
  it('knows every command and flag', () => {
    const script = execFileSync('cat', [scripts.get(shell) ?? '']).toString();
    for (const { words, flags } of commands) {
      for (const word of words) expect(script).toContain(`'${word}`);
      for (const { name } of flags) expect(script).toMatch(new RegExp(`(--|-l )${name}\\b`));
    }
  });

  // Not on every machine, and nothing else of nity needs it.
  if (has(shell)) {
    it('is a script that the shell itself can read', () => {
      expect(spawnSync(shell, ['-n', scripts.get(shell) ?? '']).status).toBe(0);
    });
  } else {
    console.warn(`${shell} is not installed: its completion is read, not run`);
  }
});
