// `nity top` in a real terminal, over a real dataplane: with its agent, while it dies, and
// after it; and what it prints where there is no terminal.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { unavailable } from '../kernel/rig.js';
import { Desk } from './desk.js';
import { NityTerminal } from './terminal.js';

describe.skipIf(unavailable !== undefined)('nity top', () => {
  let desk: Desk;
  const open: NityTerminal[] = [];

  const top = (columns: number, rows: number, ...args: string[]) => {
    const environment = desk.environment;
    const terminal = new NityTerminal(['top', '--interval', '200ms', ...args], {
      columns,
      rows,
      environment,
    });
    open.push(terminal);
    return terminal;
  };

  beforeAll(async () => {
    desk = new Desk();
    desk.serve({ cart: 3, pay: 2 });
    await desk.agent('--knob', 'tau2Ms=4000');
  });
  afterEach(async () => {
    for (const terminal of open.splice(0)) await terminal.close();
  });
  afterAll(() => desk.close());

  it('shows routes in 80 columns, looks into one, filters, freezes, and leaves no trace', async () => {
    const terminal = top(80, 24);
    await terminal.shows(/> shop\/cart:http +normal/);
    const [first = '', second = ''] = terminal.lines;
    expect(first).toMatch(/^nity top {2}\S+ {2}2 routes {2}5 backends {2}0\/s picked/);
    expect(second).toMatch(/^agent \d+, seen \d+ms ago {2}failsafe normal {2}epoch \d+ in [AB]/);
    expect(terminal.coloured).toBe(true);
    // Only what changes is sent, and never more than a line holds.
    for (const line of terminal.lines) expect(line.length).toBeLessThanOrEqual(80);

    terminal.press('\x1b[B\r');
    await terminal.shows(/^shop\/pay:http {2}normal {2}gear bounded/m);
    await terminal.shows(/127\.0\.0\.1:30100 +healthy +\d+/);
    await terminal.shows(/valve normal/);
    terminal.press('\x1b');
    await terminal.shows(/> shop\/pay:http/);

    terminal.press('/car');
    await terminal.shows(/filter: car_/);
    expect(terminal.text).not.toMatch(/shop\/pay:http +normal/);
    terminal.press('\x1b');
    await terminal.shows(/shop\/pay:http +normal/);

    terminal.press(' ');
    await terminal.shows(/FROZEN/);
    const [, before] = terminal.lines;
    await new Promise((passed) => setTimeout(passed, 700));
    expect(terminal.lines[1]).toBe(before);

    terminal.press('q');
    expect(await terminal.ended()).toBe(0);
    // The screen that was there before is back, with its cursor.
    expect(terminal.written.endsWith('\x1b[?7h\x1b[?25h\x1b[?1049l')).toBe(true);
    expect(terminal.text.trim()).toBe('');
  });

  it('follows the terminal when its size changes', async () => {
    const terminal = top(80, 24, '--route', 'shop/cart:http');
    await terminal.shows(/127\.0\.0\.1:30002/);
    expect(terminal.text).not.toContain('OF THE MOST');
    terminal.resize(160, 40);
    await terminal.shows(/OF THE MOST\n.*█/);
    // The keys are the last line there is.
    await terminal.shows(/esc back.*$/);
    terminal.resize(40, 10);
    // However little room there is, a backend has some of it.
    await terminal.shows(/127\.0\.0\.1:30000[^\n]*\n +1 to 1 of 3$/m);
    terminal.resize(30, 6);
    await terminal.shows(/^nity top/);
    expect(terminal.lines).toHaveLength(6);
  });

  it('does without colour where it is not wanted', async () => {
    const terminal = new NityTerminal(['top', '--interval', '200ms'], {
      columns: 80,
      rows: 24,
      environment: { ...desk.environment, NO_COLOR: '1' },
    });
    open.push(terminal);
    await terminal.shows(/shop\/cart:http/);
    expect(terminal.coloured).toBe(false);
  });

  it('prints one picture where there is no terminal, and one document for machines', async () => {
    const piped = await desk.nity('top', '--interval', '100ms');
    expect(piped.code).toBe(0);
    expect(piped.stdout).toMatch(
      /^nity top .*\nagent .*\npsi .*\n {2}ROUTE .*\n {2}shop\/cart:http/,
    );
    // eslint-disable-next-line no-control-regex
    expect(piped.stdout).not.toMatch(/\x1b|q quit/);
    const { stdout } = await desk.nity('top', '--interval', '100ms', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      field: { failsafeMode: 'normal' },
      routes: [
        { route: 'shop/cart:http', mode: 'normal', backends: [{}, {}, {}] },
        { route: 'shop/pay:http', backends: [{}, {}] },
      ],
    });
  });

  it('prints only the routes that are asked for, by filter, name or address', async () => {
    const routes = async (...args: string[]) => {
      const { stdout } = await desk.nity('top', '--interval', '100ms', '--json', ...args);
      return (JSON.parse(stdout) as { routes: { route: string }[] }).routes.map(
        ({ route }) => route,
      );
    };
    expect(await routes('--filter', 'PAY')).toEqual(['shop/pay:http']);
    expect(await routes('--route', 'shop/pay:http')).toEqual(['shop/pay:http']);
    expect(await routes('--route', '127.96.202.1:80')).toEqual(['shop/cart:http']);
    expect(await routes('--sort', 'name')).toEqual(['shop/cart:http', 'shop/pay:http']);
    const one = await desk.nity('top', '--interval', '100ms', '--route', 'shop/pay:http');
    expect(one.stdout).toMatch(/^shop\/pay:http {2}normal {2}gear bounded/m);
    expect(one.stdout).toMatch(/127\.0\.0\.1:30100 +healthy/);
    expect(one.stdout).not.toContain('127.0.0.1:30000');
    expect(await desk.nity('top', '--route', 'shop/none:http')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('There is no route shop/none:http.') as string,
    });
  });

  it('refuses what it cannot do, in a sentence', async () => {
    const fast = await desk.nity('top', '--interval', '10ms');
    expect(fast.code).toBe(2);
    expect(fast.stderr).toBe('Error: --interval 10ms is too short.\n→ Give 100ms to 1h.\n');
    // Node's timers take 24 days for a millisecond.
    expect((await desk.nity('top', '--interval', '600h')).code).toBe(2);
    expect((await desk.nity('top', '--sort', 'colour')).code).toBe(2);
    expect((await desk.nity('top', '--pin-path', '/sys/fs/bpf/nity-none')).code).toBe(4);
  });

  it('goes on when the agent dies, and ends when the dataplane goes', async () => {
    const terminal = top(80, 24);
    await terminal.shows(/^agent \d+, seen/m);
    await desk.endAgents('SIGKILL');
    await terminal.shows(/^no agent answers, last seen [\d.]+m?s ago {2}failsafe (normal|HOLD)/m);
    await terminal.shows(/failsafe FALLBACK/);
    expect(terminal.text).toContain('shop/cart:http');
    await desk.nity('unload', '--force');
    expect(await terminal.ended()).toBe(4);
    expect(terminal.text).toMatch(/Error: .*\n→ /);
    // The desk is laid again, for whoever comes next.
    await desk.agent();
  });
});
