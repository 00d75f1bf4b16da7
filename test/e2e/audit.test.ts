// Every change of the node, read back as an operator reads it: who, when, what, from what
// to what.
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { unavailable, until } from '../kernel/rig.js';
import { Desk } from './desk.js';
import { nity, runProgram } from './shell.js';

interface Action {
  readonly time: string;
  readonly uid: number;
  readonly sudoUid: number | null;
  readonly sudoUser: string | null;
  readonly command: string;
  readonly reason: string | null;
  readonly before: unknown;
  readonly after: unknown;
}

describe.skipIf(unavailable !== undefined)('the audit log', () => {
  let desk: Desk;

  beforeAll(() => {
    desk = new Desk();
  });

  beforeEach(() => {
    desk.serve({ cart: 2 });
  });

  afterEach(async () => {
    await desk.clear();
  });

  afterAll(async () => {
    await desk.close();
  });

  const log = () => join(desk.directory, 'audit.jsonl');
  const trail = async (...args: readonly string[]) => {
    const { stdout } = await desk.nity('inspect', 'audit', '--json', ...args);
    return JSON.parse(stdout) as { actions: Action[]; unreadable: number };
  };

  it('has what the agent loads by itself, and each change after it, in their order', async () => {
    const begun = new Date().toISOString();
    const { child, log: agentLog } = await desk.agent();
    // A second projection, or there is no table to flip back to.
    desk.serve({ cart: 3 });
    await until(() => /changed: 1 routes[^]*epoch \d+: /.test(agentLog()));
    await desk.nity('set-mode', 'hard', '--route', 'shop/cart:http', '--reason', 'draining');
    expect((await desk.nity('flip', '--hold', '1s')).code).toBe(0);
    await desk.nity('bugreport', '-o', join(desk.directory, 'report.tar.gz'));
    await desk.end(child, 'SIGTERM');
    await desk.nity('unload');
    const shown = await desk.nity('inspect', 'audit');
    expect(shown.stdout).toMatch(/ uid 0 +set-mode hard +shop\/cart:http +draining$/m);
    expect(shown.stdout).toMatch(/ uid 0 +flip +- +-$/m);
    const { actions } = await trail();
    expect(actions.map(({ command }) => command)).toEqual([
      'run-agent: load',
      'set-mode hard',
      'flip',
      'bugreport',
      'unload',
    ]);
    for (const { uid, time } of actions) {
      expect(uid).toBe(0);
      expect(time >= begun).toBe(true);
    }
    const [load, setMode, flip, , unload] = actions;
    expect(load).toMatchObject({ before: null, after: { action: 'loaded' } });
    expect(setMode).toMatchObject({
      reason: 'draining',
      before: [{ route: 'shop/cart:http', override: null }],
      after: [{ route: 'shop/cart:http', override: 'hard' }],
    });
    const epochs = flip as { before: { epoch: string }; after: { epoch: string } } | undefined;
    expect(BigInt(epochs?.after.epoch ?? 0)).toBe(BigInt(epochs?.before.epoch ?? 0) + 1n);
    expect(unload).toMatchObject({ after: null });
    expect(unload?.before).toContain(join(desk.pinPath, 'links/nity_connect4'));
  });

  it('has who called sudo, and nothing of what was only tried', async () => {
    const before = (await trail()).actions.length;
    await desk.nity('load', '--cgroup', desk.cgroup, '--dry-run');
    expect((await trail()).actions).toHaveLength(before);
    const command = ['bin/run.js', 'load', '--cgroup', desk.cgroup];
    await runProgram(process.execPath, command, {
      ...{ NITY_PIN_PATH: desk.pinPath, NITY_AUDIT_LOG: log() },
      ...{ SUDO_UID: '1001', SUDO_USER: 'ada' },
    });
    expect((await trail()).actions.at(-1)).toMatchObject({
      ...{ command: 'load', uid: 0, sudoUid: 1001, sudoUser: 'ada' },
    });
    const { stdout } = await desk.nity('inspect', 'audit', '--last', '1', '--no-headers');
    expect(stdout).toMatch(/^\S+Z +ada \(sudo\) +load +- +-\n$/);
  });

  it('has which programs an upgrade replaced', async () => {
    await desk.load();
    execFileSync('rm', [join(desk.pinPath, 'links/nity_ingress')]);
    await desk.nity('load', '--cgroup', desk.cgroup);
    const upgrade = (await trail()).actions.at(-1);
    expect(upgrade).toMatchObject({ command: 'load', after: { action: 'upgraded' } });
    const names = (upgrade?.before as { name: string }[]).map(({ name }) => name);
    expect(names).toContain('nity_connect4');
    expect(names).not.toContain('nity_ingress');
  });

  it('is read past a line that was cut short, and says so', async () => {
    await desk.load();
    appendFileSync(log(), '{"time":"2026-11-2');
    const { actions, unreadable } = await trail();
    expect(unreadable).toBe(1);
    expect(actions.at(-1)?.command).toBe('load');
  });

  it('is its group’s at most to read', () => {
    expect(statSync(log()).mode & 0o007).toBe(0);
    expect(readFileSync(log(), 'utf8')).not.toBe('');
  });
});

describe('an audit log that is not there, or not to be read', () => {
  it('is empty where nobody has done anything', async () => {
    const { code, stdout } = await nity(['inspect', 'audit', '--json'], {
      NITY_AUDIT_LOG: '/nowhere/audit.jsonl',
    });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ actions: [], unreadable: 0 });
  });

  it('ends with 2 where the path names none', async () => {
    const { code, stderr } = await nity(['inspect', 'audit', '--audit-log', '/']);
    expect(code).toBe(2);
    expect(stderr).toContain('The audit log / cannot be read');
  });
});
