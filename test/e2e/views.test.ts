// What the views print into a terminal of 80 columns and of 200, with colour and without, and
// into a pipe: kept as pictures, in which numbers that differ from run to run are masked.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { refusedHere, refusingTracing } from '../kernel/refusal.js';
import { unavailable } from '../kernel/rig.js';
import { Desk } from './desk.js';
import { NityTerminal } from './terminal.js';

const views: readonly (readonly string[])[] = [
  ['inspect', 'routes'],
  ['inspect', 'slots'],
  ['inspect', 'backends'],
  ['inspect', 'backends', '-o', 'wide'],
  ['inspect', 'control'],
  ['inspect', 'counters'],
  ['inspect', 'field'],
  ['explain', 'shop/cart:http'],
  ['config', '--changed', '--knob', 'tickMs=100'],
  ['trace', '--for', '1s'],
];

/** Numbers, with the spaces that align them: the shape stays, and what it happens to say goes. */
function masked(text: string): string {
  return text
    .replaceAll(/nity-desk-\w+/g, 'nity-desk')
    .replaceAll(/\d+(\.\d+)?( ?(µs|ms|s)\b)?/g, '#')
    .replaceAll(/table [AB]\b/g, 'table #')
    .replaceAll(/slots?\b/g, 'slots')
    .replaceAll(/ {2,}/g, '  ')
    .replaceAll(/[▏▎▍▌▋▊▉█]+/g, '█')
    .replaceAll(/ +$/gm, '')
    .trimEnd();
}

describe.skipIf(unavailable !== undefined)('views', () => {
  let desk: Desk;
  beforeAll(async () => {
    desk = new Desk();
    desk.serve({ cart: 3, pay: 2 });
    await desk.agent();
  });
  afterAll(() => desk.close());

  async function shown(
    args: readonly string[],
    columns: number,
    colour: boolean,
    under: readonly string[] = [],
  ) {
    const environment: NodeJS.ProcessEnv = { ...desk.environment, NO_COLOR: '' };
    const terminal = new NityTerminal(args, {
      ...{ columns, under },
      rows: 100,
      environment: colour ? environment : { ...environment, NO_COLOR: '1' },
    });
    const code = await terminal.ended();
    return { code, text: terminal.text.trimEnd(), coloured: terminal.coloured };
  }

  /** In two terminals and a pipe, as the pictures of that name. */
  async function looksLike(name: string, words: readonly string[], under: readonly string[] = []) {
    const picture = (width: string) =>
      join(import.meta.dirname, '../fixtures/views', `${name}-${width}.txt`);
    for (const columns of [80, 200]) {
      const plain = await shown(words, columns, false, under);
      expect(plain).toMatchObject({ code: 0, coloured: false });
      await expect(`${masked(plain.text)}\n`).toMatchFileSnapshot(picture(String(columns)));
    }
    const { code, stdout } = await desk.nityUnder(['env', ...under], ...words);
    expect(code).toBe(0);
    // No escape reaches a pipe.
    expect(stdout.includes('\x1b')).toBe(false);
    await expect(`${masked(stdout)}\n`).toMatchFileSnapshot(picture('piped'));
  }

  it.each(views.map((words) => [words.join(' '), words] as const))('nity %s', async (_, words) => {
    await looksLike(words.join('_').replaceAll('/', '.'), words);
  });

  it('nity inspect conntrack, as this kernel lists sockets or not', async () => {
    const name = refusedHere === null ? 'inspect_conntrack' : 'inspect_conntrack_refused';
    await looksLike(name, ['inspect', 'conntrack']);
  });

  it('nity inspect conntrack, where the kernel refuses to list sockets', async () => {
    const under = refusingTracing(desk.directory);
    await looksLike('inspect_conntrack_refused', ['inspect', 'conntrack'], under);
  });

  it.each([[['inspect', 'routes']], [['doctor']], [['explain', 'shop/cart:http']]])(
    'nity %j has colour in a terminal, and says the same with it',
    async (args) => {
      const coloured = await shown(args, 200, true);
      expect(coloured.coloured).toBe(true);
      expect(masked(coloured.text)).toBe(masked((await shown(args, 200, false)).text));
    },
  );
});
