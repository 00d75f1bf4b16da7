// What `nity top` paints, kept as pictures: each view at 80 and 200 columns, with colour and
// without; and what its keys do.
import { Chalk } from 'chalk';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import type { TopFrame } from '../../src/lib/cli/top/frame.js';
import { glyphsFor, inked, type Glyphs } from '../../src/lib/cli/top/ink.js';
import { paint, paintOnce, type Size } from '../../src/lib/cli/top/paint.js';
import { firstView, press, shownRoutes, sortKeys, type View } from '../../src/lib/cli/top/view.js';
import { empty, observed, orphaned, troubled } from './top-frames.js';

const narrow: Size = { columns: 80, rows: 24 };
const wide: Size = { columns: 200, rows: 50 };
const picture = (name: string) => join(import.meta.dirname, '../fixtures/top', `${name}.txt`);

function painted(frame: TopFrame, view: View, size: Size, level: 0 | 1, glyphs: Glyphs = 'blocks') {
  const chalk = new Chalk({ level });
  return paint(frame, view, size).map((line) => inked(line, size.columns, chalk, glyphs));
}

const views = {
  overview: [troubled, firstView],
  route: [troubled, { ...firstView, route: 'shop/cart:http' }],
  'route-of-many': [
    troubled,
    { ...firstView, route: 'telemetry/collector-of-everything-that-happens:otlp-grpc', scroll: 16 },
  ],
  help: [troubled, { ...firstView, help: true }],
  filter: [troubled, { ...firstView, filter: 'pay', typing: true }],
  orphaned: [orphaned, firstView],
  'orphaned-route': [orphaned, { ...firstView, route: 'shop/pay:https', frozen: true }],
  empty: [empty, firstView],
  observed: [observed, firstView],
  'observed-route': [observed, { ...firstView, route: 'shop/cart:http' }],
} as const satisfies Record<string, readonly [TopFrame, View]>;

describe.each(Object.entries(views))('the view %s', (name, [frame, view]) => {
  it.each([
    ['80', narrow],
    ['200', wide],
  ] as const)('at %s columns', async (columns, size) => {
    const lines = painted(frame, view, size, 0);
    expect(lines).toHaveLength(size.rows);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(size.columns);
    await expect(`${lines.map((line) => line.trimEnd()).join('\n')}\n`).toMatchFileSnapshot(
      picture(`${name}-${columns}`),
    );
  });

  it('says the same with colour', () => {
    const plain = painted(frame, view, narrow, 0);
    const coloured = painted(frame, view, narrow, 1);
    expect(coloured.join('\n')).toContain('\x1b[');
    // eslint-disable-next-line no-control-regex
    expect(coloured.map((line) => line.replaceAll(/\x1b\[\d+m/g, ''))).toEqual(plain);
  });

  it('needs no more than ASCII where a terminal has no more', () => {
    const lines = painted(frame, view, narrow, 0, 'ascii');
    expect(lines.join('')).toMatch(/^[ -~]*$/);
    // The picture has the same shape: a stand-in is as wide as what it stands for.
    expect(lines.map((line) => line.length)).toEqual(
      painted(frame, view, narrow, 0).map((line) => line.length),
    );
  });

  it.each([
    { columns: 20, rows: 5 },
    { columns: 1, rows: 1 },
    { columns: 500, rows: 3 },
  ])('fits where there is no room: $columns×$rows', (size) => {
    const lines = painted(frame, view, size, 0);
    expect(lines).toHaveLength(size.rows);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(size.columns);
  });
});

describe('colours', () => {
  const find = (frame: TopFrame, view: View, text: string) =>
    paint(frame, view, wide)
      .flat()
      .find((span) => span.text.trim() === text)?.ink;

  it('tell trouble from rest', () => {
    expect(find(troubled, firstView, 'soft*')).toBe('yellow');
    expect(find(troubled, firstView, 'x')).toBe('red');
    expect(find(troubled, firstView, 'failsafe normal')).toBe('plain');
    expect(find(orphaned, firstView, 'failsafe HOLD')).toBe('yellow');
    expect(find(orphaned, firstView, 'no agent answers, last seen 1.9s ago')).toBe('red');
  });
});

describe('names of the outside', () => {
  it('move no cursor and break no line', () => {
    const [first] = troubled.routes;
    if (first === undefined) throw new Error('there is no route');
    const frame = { ...troubled, routes: [{ ...first, route: 'a\x1b[2Jb\n\u202ec/x:http' }] };
    const text = painted(frame, firstView, narrow, 0).join('');
    expect(text).toContain('a?[2Jb??c/x:http');
  });
});

describe('one picture for a pipe', () => {
  it('has every route and no keys', async () => {
    const chalk = new Chalk({ level: 0 });
    const lines = paintOnce(troubled, firstView, 160);
    const text = lines.map((line) => inked(line, 160, chalk, 'blocks').trimEnd()).join('\n');
    expect(text).not.toContain('q quit');
    await expect(`${text}\n`).toMatchFileSnapshot(picture('piped'));
  });
});

describe('keys', () => {
  const key = (name: string, text = '', ctrl = false) => ({ name, text, ctrl });
  const after = (view: View, ...names: string[]) =>
    names.reduce<View>((now, name) => {
      const pressed = press(now, key(name, name.length === 1 ? name : ''), troubled, 3);
      if (pressed === 'quit') throw new Error(`${name} quit`);
      return pressed;
    }, view);
  const order = (view: View) =>
    shownRoutes(troubled, view).map(({ route }) => route.split(/[/:]/)[1]);

  it('sort by each column in turn, and the other way round', () => {
    let view = firstView;
    expect(order(view)).toEqual(['cart', 'pay', 'collector-of-everything-that-happens', 'gone']);
    const seen = sortKeys.map(() => (view = after(view, 's')).sort);
    expect(seen).toEqual([...sortKeys.slice(1), sortKeys[0]]);
    expect(order({ ...firstView, sort: 'refused' })[0]).toBe('pay');
    expect(order({ ...firstView, sort: 'name' })).toEqual(
      order({ ...firstView, sort: 'name', reversed: true }).reverse(),
    );
    expect(order({ ...firstView, sort: 'p95' })[0]).toBe('pay');
    expect(order({ ...firstView, sort: 'mode' })[0]).toBe('pay');
    expect(order({ ...firstView, sort: 'open' })[0]).toBe('collector-of-everything-that-happens');
  });

  it('move through the routes and look into one', () => {
    expect(after(firstView, 'down').selected).toBe('shop/pay:https');
    expect(after(firstView, 'end', 'up').selected).toBe(
      'telemetry/collector-of-everything-that-happens:otlp-grpc',
    );
    expect(after(firstView, 'up', 'up').selected).toBe('shop/cart:http');
    const inside = after(firstView, 'down', 'return');
    expect(inside.route).toBe('shop/pay:https');
    expect(after(inside, 'down').route).toBe(
      'telemetry/collector-of-everything-that-happens:otlp-grpc',
    );
    expect(after(inside, 'escape').route).toBeNull();
    expect(after(inside, 'q').route).toBeNull();
  });

  it('filter by what is typed, and take letters of commands as letters then', () => {
    const typing = after(firstView, '/', 'p', 'a', 'q', 'backspace');
    expect(typing).toMatchObject({ typing: true, filter: 'pa' });
    expect(order(typing)).toEqual(['pay']);
    expect(after(typing, 'return')).toMatchObject({ typing: false, filter: 'pa' });
    expect(after(typing, 'escape')).toMatchObject({ typing: false, filter: '' });
    expect(after(after(typing, 'return'), 'escape').filter).toBe('');
  });

  it('freeze, help and quit', () => {
    expect(after(firstView, 'space').frozen).toBe(true);
    expect(after(firstView, 'space', 'f').frozen).toBe(false);
    expect(after(firstView, '?').help).toBe(true);
    expect(after(firstView, '?', 'x').help).toBe(false);
    expect(press(firstView, key('q', 'q'), troubled, 3)).toBe('quit');
    expect(press({ ...firstView, typing: true }, key('c', '', true), troubled, 3)).toBe('quit');
  });
});

describe('the glyphs', () => {
  it('are blocks where the terminal says that it knows them', () => {
    expect(glyphsFor({ LANG: 'C.UTF-8', TERM: 'xterm' })).toBe('blocks');
    expect(glyphsFor({ LANG: 'en_GB.utf8', TERM: 'screen' })).toBe('blocks');
    expect(glyphsFor({ LANG: 'C.UTF-8', LC_ALL: 'C', TERM: 'xterm' })).toBe('ascii');
    expect(glyphsFor({ LANG: 'C.UTF-8', TERM: 'linux' })).toBe('ascii');
    expect(glyphsFor({})).toBe('ascii');
  });
});
