// What a shell gets of nity: the first page, help where a word is wrong, and completion,
// tried in the shells themselves.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { readCatalogue, type CommandInfo } from '../../src/lib/cli/catalogue.js';
import { nity, root, runProgram } from './shell.js';

const directory = mkdtempSync(join(tmpdir(), 'nity-shell-'));
const { commands } = readCatalogue(root);
/** A directory whose files would be offered, if there were any. */
const empty = join(directory, 'empty');
mkdirSync(empty);

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
        '--pin-path',
        "/sys/fs/bpf/it's",
      ];
      const { code, stderr } = await runProgram('setpriv', asNobody);
      expect(code).toBe(3);
      expect(stderr).toMatch(
        /^Error: .+ to uid 65534, which lacks CAP_BPF.* and has none that it needs\.\n→ Run `sudo nity load --pin-path '\/sys\/fs\/bpf\/it'\\''s'`, or .*add: \[BPF, NET_ADMIN, PERFMON\].*\.\n$/,
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
    [['help', 'inspect', 'slotz'], 'nity inspect slotz is not a command.', '`nity inspect slots`?'],
    [['slotz', '--help'], 'nity slotz is not a command.', '`nity --help` lists them all.'],
    [
      ['inspect', 'slots', 'shop/cart:http'],
      'nity inspect slots takes no argument shop/cart:http.',
      'Name a route with --route.',
    ],
    [['version', 'of', 'it'], 'nity version takes no argument of.', '--help'],
    [
      ['set-mode', 'soft', '--rate', '0'],
      '--rate: expected an integer greater than or equal to 1 but received: 0.',
      '--help',
    ],
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

describe('an answer that cannot be written', () => {
  it.each([
    ['version'],
    ['--help'],
    ['flip --help'],
    ['completion bash'],
    ['inspect field --json'],
  ])('of nity %s is told on stderr, and ends with 2', async (words) => {
    const script = `exec "$0" bin/run.js ${words} >/dev/full`;
    const { code, stderr } = await runProgram('sh', ['-c', script, process.execPath]);
    expect(stderr).toBe(
      'Error: stdout could not be written (ENOSPC).\n→ Name a place that can be written to.\n',
    );
    expect(code).toBe(2);
  });

  it('is no failure where somebody has read enough', async () => {
    const script = 'set -o pipefail; "$0" bin/run.js completion bash | head -c 1 >/dev/null';
    expect(await runProgram('bash', ['-c', script, process.execPath])).toEqual({
      ...{ code: 0, stdout: '', stderr: '' },
    });
  });
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
});

describe('completion in fish', () => {
  /** What fish offers for a line; it says nothing else. */
  const offered = (line: string): string[] => {
    const script = `source ${scripts.get('fish') ?? ''}; cd ${empty}; complete -C '${line}' 2>&1`;
    const said = execFileSync('fish', ['--no-config', '-c', script]).toString();
    return said.split('\n').flatMap((offer) => offer.split('\t')[0] || []);
  };

  it('offers commands, views, flags and values, each only in its place', () => {
    expect(offered('nity ins')).toEqual(['inspect']);
    expect(offered('nity inspect sl')).toEqual(['slots']);
    expect(offered('nity config ')).toEqual(['check']);
    expect(offered('nity inspect slots --ro')).toEqual(['--route']);
    expect(offered('nity inspect slots --no-headers --ro')).toEqual(['--route']);
    expect(offered('nity flip --ro')).toEqual([]);
    expect(offered('nity load --color al')).toEqual(['always']);
    expect(offered('nity set-mode so')).toEqual(['soft']);
    expect(offered('nity nonsense --ro')).toEqual([]);
  });
});

describe('completion in zsh', () => {
  /** The line as it is after a tab, typed into a terminal that zsh believes in. */
  const completed = (line: string): string => {
    const script = `
      zmodload zsh/zpty
      zpty -b z 'zsh -f -i'
      zpty -w z "PS1=; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source ${scripts.get('zsh') ?? ''}; cd ${empty}; echo re'ady'"
      zpty -r -m z got '*ready*' || exit 1
      # What the terminal is given as the line is the line: Ctrl-X shows it, and ends it.
      zpty -w z 'show() { print -r -- "<$BUFFER>"; BUFFER=; }; zle -N show; bindkey "^X" show; echo bo"und"'
      zpty -r -m z got '*bound*' || exit 1
      zpty -w -n z "$1"$'\t\x18'
      zpty -r -m z got '*<*>*' || exit 1
      got=\${got##*<}
      print -r -- "\${got%%>*}"`;
    const environment = { ...process.env, TERM: 'dumb', LC_ALL: 'C.UTF-8' };
    const asked = ['-f', '-c', script, 'zsh', line];
    return execFileSync('zsh', asked, { env: environment, timeout: 30_000 }).toString().trim();
  };

  it.each([
    ['nity ins', 'nity inspect'],
    ['nity inspect sl', 'nity inspect slots'],
    ['nity config ch', 'nity config check'],
    ['nity inspect slots --ro', 'nity inspect slots --route='],
    ['nity flip --ro', 'nity flip --ro'],
    ['nity load --color al', 'nity load --color always'],
    ['nity set-mode so', 'nity set-mode soft'],
  ])('%s becomes %s', (typed, becomes) => {
    expect(completed(typed)).toBe(becomes);
  });
});
