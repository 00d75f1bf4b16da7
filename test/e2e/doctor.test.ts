// Faults really planted on this machine, each found by the built command under its own
// identifier, and a dataplane in health, of which it finds nothing wrong.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { makeKnobs } from '../../src/lib/config/knobs.js';
import { BackendState, Counter } from '../../src/lib/dataplane/abi.js';
import { load } from '../../src/lib/dataplane/loader.js';
import type { LoadOptions } from '../../src/lib/dataplane/loading.js';
import { BpfLink, BpfMap, BpfObject } from '../../src/lib/dataplane/native.js';
import { linkPin, mapPin, openPlane } from '../../src/lib/dataplane/pins.js';
import { mapNames, rangeOf, tableOf, type Plane } from '../../src/lib/dataplane/plane.js';
import { unload } from '../../src/lib/dataplane/unload.js';
import type { Check, Status } from '../../src/lib/doctor/check.js';
import { ApiStub } from '../doctor/api.js';
import { refusedHere, refusingTracing, suppressedHere, withoutPerfmon } from '../kernel/refusal.js';
import { unavailable, until } from '../kernel/rig.js';
import { Desk } from './desk.js';
import type { Outcome } from './shell.js';

interface Told {
  readonly schemaVersion: number;
  readonly ok: boolean;
  readonly fixed: readonly { readonly id: string; readonly did: string }[];
  readonly checks: readonly Check[];
}

/** Quick to be stale, so that a test need not wait. */
const knobs = { tau1Ms: 600, tau2Ms: 60_000 };
const patiently = ['--fail-on', 'warn', '--wait', '40s'];
const hasty = ['--knob', 'tau1Ms=600', '--knob', 'tau2Ms=60000'] as const;
const root = join(import.meta.dirname, '../..');

describe.skipIf(unavailable !== undefined)('nity doctor', () => {
  let desk: Desk;
  let otherBuild: string;
  let foreign: string;

  const clang = (source: string, output: string, ...more: string[]) => {
    const triplet = execFileSync('cc', ['-dumpmachine']).toString().trim();
    const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${triplet}`];
    execFileSync('clang', [...flags, ...more, '-c', join(root, source), '-o', output]);
    return output;
  };

  beforeAll(() => {
    desk = new Desk();
    // The same programs but for one constant: another build, with other tags.
    const other = join(desk.directory, 'other.bpf.o');
    otherBuild = clang('bpf/nity.bpf.c', other, '-DNITY_PATIENCE_NS=123456789ULL');
    foreign = clang('bench/empty.bpf.c', join(desk.directory, 'foreign.bpf.o'));
  });

  beforeEach(() => {
    desk.serve({ cart: 4, pay: 2 });
  });

  afterEach(async () => {
    await desk.clear();
  });

  afterAll(async () => {
    await desk.close();
  });

  const ask = (...args: readonly string[]) => desk.nity('doctor', '--cgroup', desk.cgroup, ...args);
  const told = ({ stdout }: Outcome) => JSON.parse(stdout) as Told;
  /** What the doctor says of one check, and with which exit code it ends. */
  const diagnose = async (id: string, ...args: readonly string[]) => {
    const outcome = await ask('--json', ...args);
    const check = told(outcome).checks.find((one) => one.id === id);
    return { code: outcome.code, status: check?.status, seen: check?.seen, hint: check?.hint };
  };
  const found = async (id: string, status: Status, seen: RegExp | string) => {
    const diagnosis = await diagnose(id);
    expect(diagnosis.status).toBe(status);
    if (typeof seen === 'string') expect(diagnosis.seen).toBe(seen);
    else expect(diagnosis.seen).toMatch(seen);
    if (status === 'fail') expect(diagnosis.code).toBe(1);
    expect(diagnosis.hint).not.toBe('');
  };

  const loadHere = (more: Partial<LoadOptions> = {}) =>
    load({ pinPath: desk.pinPath, cgroup: desk.cgroup, knobs: makeKnobs(knobs), ...more });
  /** A dataplane whose agent has served, and is gone in order: nobody mends what is planted. */
  const deserted = async () => {
    const { child } = await desk.agent(...hasty);
    await desk.end(child, 'SIGTERM');
  };
  const onPlane = (plant: (plane: Plane) => void) => {
    const plane = openPlane(desk.pinPath);
    try {
      plant(plane);
    } finally {
      plane.close();
    }
  };
  /** Where the slots of one route are in the table in force. */
  const slotsOf = (plane: Plane, route: number) => {
    const table = tableOf(plane.word('epoch'));
    const { base, size } = rangeOf(plane.rtControl.read(route).slotRange[table] ?? 0n);
    return { base, size, owners: plane.slotTables[table] };
  };
  /** Attaches a program of somebody else's; it stays as long as the link that is returned. */
  const attachForeign = (cgroup: string) => {
    const object = new BpfObject(foreign);
    object.load();
    return object.program('empty_connect4').attachCgroup(cgroup);
  };

  it('asks the cluster that --kubeconfig names, and none without it', async () => {
    const api = new ApiStub();
    await api.listen();
    try {
      api.denied = ['watch services'];
      const asked = await ask('--json', '--kubeconfig', api.kubeconfig);
      const checks = told(asked).checks.filter(({ group }) => group === 'cluster');
      expect(checks.map(({ id, status }) => `${id} ${status}`)).toEqual([
        'NITY100 ok',
        'NITY101 fail',
        'NITY102 ok',
        'NITY103 ok',
        expect.stringMatching('NITY105'),
      ]);
      expect(asked.code).toBe(1);
    } finally {
      api.close();
    }
    const without = told(await ask('--json')).checks.map(({ group }) => group);
    expect(without).not.toContain('cluster');
  });

  describe('of a dataplane in health', () => {
    it('finds nothing wrong, says so in every group, and ends with 0', async () => {
      await desk.agent();
      // Looks again until nothing is wrong: a busy machine may keep a tick waiting.
      const outcome = await ask('--json', ...patiently, ...suppressedHere);
      const { schemaVersion, ok, checks } = told(outcome);
      expect(checks.filter(({ status }) => status !== 'ok')).toEqual([]);
      expect({ schemaVersion, ok, code: outcome.code }).toEqual({
        schemaVersion: 1,
        ok: true,
        code: 0,
      });
      expect(new Set(checks.map(({ group }) => group))).toEqual(
        new Set('privilege kernel mounts programs schema agent field sensors conflicts'.split(' ')),
      );
      expect(checks.length).toBeGreaterThan(40);
    });

    it('shows groups, one line a check and a sum; without heads only the lines', async () => {
      await desk.agent();
      const { stdout } = await ask(...patiently, ...suppressedHere);
      expect(stdout).toMatch(/^agent\n {2}ok {4}NITY060 {2}heartbeat: normal, \d\.\d s old$/m);
      expect(stdout).toMatch(/^\d+ checks: \d+ ok, 0 warn, 0 fail$/m);
      const bare = await ask('--no-headers');
      expect(bare.stdout).not.toMatch(/^(agent|\d+ checks)/m);
    });
  });

  describe('of what is not loaded', () => {
    it('warns, which fails only whoever asks for that', async () => {
      await found('NITY040', 'warn', `nothing at ${desk.pinPath}`);
      expect((await ask('--json')).code).toBe(0);
      const strict = await ask('--json', '--fail-on', 'warn', ...suppressedHere);
      expect({ code: strict.code, ok: told(strict).ok }).toEqual({ code: 1, ok: false });
      const lenient = ['--fail-on', 'warn', '--suppress', 'NITY040', ...suppressedHere];
      expect((await ask(...lenient)).code).toBe(0);
    });

    it('waits for what is wrong to pass', async () => {
      const waiting = ask(...patiently, ...suppressedHere);
      await desk.agent();
      expect((await waiting).code).toBe(0);
    });

    it('refuses a check that cannot be, and a time that is none', async () => {
      expect(await ask('--suppress', 'NITY1')).toMatchObject({ code: 2, stdout: '' });
      expect((await ask('--wait', 'long')).code).toBe(2);
    });
  });

  describe('of privileges and mounts', () => {
    it('finds that it lacks capabilities, and ends with 3', async () => {
      const outcome = await desk.nityAs(65_534, [
        ...['doctor', '--json', '--cgroup', desk.cgroup],
        // The directory of the test's own pins is closed to others.
        ...['--pin-path', '/sys/fs/bpf/nity-test-none'],
      ]);
      expect(outcome.code).toBe(3);
      const check = told(outcome).checks.find(({ id }) => id === 'NITY010');
      expect(check).toMatchObject({
        status: 'fail',
        seen: 'uid 65534 lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON',
      });
      // What the kernel refuses for want of them is no fault of its own.
      const failed = told(outcome).checks.filter(({ status }) => status === 'fail');
      expect(failed.map(({ id }) => id)).toEqual(['NITY010']);
    });

    it('finds a pin path that is in no BPF file system', async () => {
      const { stdout, code } = await ask('--json', '--pin-path', join(desk.directory, 'pins'));
      const check = told({ stdout, code, stderr: '' }).checks.find(({ id }) => id === 'NITY030');
      expect(check).toMatchObject({ status: 'fail', hint: 'Name a place in it with --pin-path.' });
      expect(code).toBe(1);
    });

    it('finds a BPF file system that is not mounted, and mounts it with --fix', () => {
      // In a mount namespace of its own, so that nobody else loses theirs.
      const script = `while umount /sys/fs/bpf 2>/dev/null; do :; done
        "$0" "$1" doctor --json --cgroup "$2" --audit-log "$3"; echo
        "$0" "$1" doctor --json --cgroup "$2" --audit-log "$3" --fix; echo; stat -f -c %T /sys/fs/bpf`;
      const { stdout } = spawnSync(
        'unshare',
        ['-m', 'sh', '-c', script, process.execPath, join(root, 'bin/run.js'), desk.cgroup].concat(
          join(desk.directory, 'audit.jsonl'),
        ),
        { encoding: 'utf8', env: { ...process.env, NITY_PIN_PATH: desk.pinPath } },
      );
      const [before = '', after = '', type] = stdout.trim().split(/\n+/);
      const mount = (text: string) =>
        (JSON.parse(text) as Told).checks.find(({ id }) => id === 'NITY030')?.status;
      expect([mount(before), mount(after), type]).toEqual(['fail', 'ok', 'bpf_fs']);
      expect((JSON.parse(after) as Told).fixed).toEqual([
        { id: 'NITY030', did: 'mounted a BPF file system at /sys/fs/bpf' },
      ]);
    });

    it('finds a cgroup that is none', async () => {
      const { stdout } = await desk.nity('doctor', '--json', '--cgroup', desk.directory);
      const check = (JSON.parse(stdout) as Told).checks.find(({ id }) => id === 'NITY031');
      expect(check).toMatchObject({
        status: 'fail',
        hint: 'Name a directory of the hierarchy with --cgroup.',
      });
    });

    it('finds what a killed load left, and removes it with --fix', async () => {
      const left = `${desk.pinPath}-loading-999999`;
      mkdirSync(join(left, 'links'), { recursive: true });
      await found('NITY033', 'fail', left);
      const fixed = await ask('--fix');
      expect(fixed).toMatchObject({ code: 0, stderr: `Fixed: removed ${left}.\n` });
      expect((await diagnose('NITY033')).status).toBe('ok');
    });
  });

  describe('of the listing of sockets', () => {
    const listing = ({ stdout, code }: Outcome) => {
      const check = told({ stdout, code, stderr: '' }).checks.find(({ id }) => id === 'NITY027');
      return { code, status: check?.status, seen: check?.seen, hint: check?.hint };
    };

    it('finds out whether this kernel does it, loaded or not', async () => {
      const here = refusedHere === null ? { status: 'ok', seen: 'works' } : { status: 'warn' };
      expect(listing(await ask('--json'))).toMatchObject({ code: 0, ...here });
      loadHere();
      expect(listing(await ask('--json'))).toMatchObject(here);
    });

    it('finds that the policy of the kernel refuses it, and asks for no capability', async () => {
      const refused = [...refusingTracing(desk.directory)];
      const asked = await desk.nityUnder(refused, 'doctor', '--json', '--cgroup', desk.cgroup);
      const { code, status, seen, hint } = listing(asked);
      expect({ code, status }).toEqual({ code: 0, status: 'warn' });
      expect(seen).toMatch(
        /open counts are not compared .* inspect conntrack.*: the policy of this kernel .*tracing/,
      );
      expect(hint).toContain('Connects are served');
      expect(hint).not.toContain('PERFMON');
    });

    it('says nothing of it where a capability is missing, which it says instead', async () => {
      const asked = await desk.nityUnder(
        ...([withoutPerfmon, 'doctor', '--json', '--cgroup', desk.cgroup] as const),
      );
      expect(listing(asked)).toMatchObject({ code: 3, status: undefined });
      const missing = told(asked).checks.find(({ id }) => id === 'NITY010');
      expect(missing?.seen).toBe('uid 0 lacks CAP_PERFMON');
    });
  });

  describe('of a lockdown', () => {
    it('never says that there is none where it cannot be read', async () => {
      const { status, seen } = await diagnose('NITY012');
      expect(status).toBe('ok');
      const isReadable = existsSync('/sys/kernel/security/lockdown');
      expect(seen).toMatch(
        isReadable ? /^(none|integrity)$/ : /could not be read|the kernel has no lockdown/,
      );
    });
  });

  describe('of programs and maps', () => {
    it('finds that it is attached to another cgroup than is meant', async () => {
      loadHere();
      const { stdout, code } = await desk.nity('doctor', '--json');
      const check = (JSON.parse(stdout) as Told).checks.find(({ id }) => id === 'NITY043');
      expect(check?.status).toBe('fail');
      expect(check?.seen).toContain(`${desk.cgroup} instead of `);
      expect(code).toBe(1);
    });

    it('finds a program whose pin is gone', async () => {
      loadHere();
      unlinkSync(linkPin(desk.pinPath, 'nity_connect4'));
      await found('NITY041', 'fail', 'nity_connect4 missing');
    });

    it('does not miss the program that connect latency does without', async () => {
      loadHere({ latency: 'connect' });
      expect((await diagnose('NITY041')).status).toBe('ok');
    });

    it('finds a link that was detached', async () => {
      loadHere();
      const link = BpfLink.open(linkPin(desk.pinPath, 'nity_sockops'));
      link.detach();
      link.close();
      await found('NITY042', 'fail', 'nity_sockops attached to nothing');
    });

    it('finds links whose cgroup is gone', async () => {
      const gone = join(desk.cgroup, 'gone');
      mkdirSync(gone);
      loadHere({ cgroup: gone });
      rmdirSync(gone);
      await found('NITY042', 'fail', /nity_sock_release.* and 4 more attached to nothing/);
    });

    it('finds programs of another build', async () => {
      loadHere({ object: otherBuild });
      await found('NITY044', 'warn', /^another build’s: nity_/);
    });

    it('finds half-removed maps', async () => {
      loadHere();
      unlinkSync(mapPin(desk.pinPath, 'backend_live'));
      unlinkSync(mapPin(desk.pinPath, 'affinity'));
      await found('NITY050', 'fail', 'backend_live, affinity missing');
    });

    it('finds pins of another major schema', async () => {
      loadHere();
      onPlane((plane) => {
        plane.fieldState.write(0, { schema: 0x1_0002 });
      });
      await found('NITY051', 'fail', /has schema 1\.2; this is 2\./);
    });

    it('finds a map of another layout', async () => {
      loadHere();
      const path = mapPin(desk.pinPath, 'routes');
      unlinkSync(path);
      BpfMap.open(mapPin(desk.pinPath, 'conntrack')).pin(path);
      await found('NITY052', 'fail', 'routes');
    });

    it('finds programs that run on other maps than are pinned', async () => {
      const second = `${desk.pinPath}-second`;
      loadHere();
      loadHere({ pinPath: second });
      try {
        for (const name of mapNames) {
          unlinkSync(mapPin(desk.pinPath, name));
          BpfMap.open(mapPin(second, name)).pin(mapPin(desk.pinPath, name));
        }
        await found('NITY053', 'fail', / and 4 more on others$/);
      } finally {
        unload({ pinPath: second, force: true });
      }
    });

    it('finds pins that are not Nity’s', async () => {
      loadHere();
      const path = join(desk.pinPath, 'maps', 'not_ours');
      BpfMap.open(mapPin(desk.pinPath, 'routes')).pin(path);
      try {
        await found('NITY054', 'warn', '1 pin: maps/not_ours');
      } finally {
        unlinkSync(path);
      }
    });
  });

  describe('of the agent', () => {
    it('finds that it was killed, by its heartbeat and by its process', async () => {
      const { child } = await desk.agent(...hasty);
      await desk.end(child, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 700));
      await found('NITY060', 'fail', /^hold, \d+\.\d s old$/);
      await found('NITY061', 'fail', `pid ${child.pid ?? 0} was killed`);
    });

    it('finds that it is stopped, and how to let it go on', async () => {
      const { child } = await desk.agent(...hasty);
      child.kill('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 700));
      const diagnosis = await diagnose('NITY061');
      expect(diagnosis).toMatchObject({
        code: 1,
        status: 'fail',
        seen: `pid ${child.pid ?? 0} is stopped`,
        hint: `Let it go on: \`kill -CONT ${child.pid ?? 0}\`.`,
      });
      child.kill('SIGCONT');
    });

    it('finds a process in the field that is not the agent', async () => {
      const { child } = await desk.agent(...hasty);
      onPlane((plane) => {
        plane.fieldState.write(0, { agentPid: process.pid });
      });
      await found('NITY062', 'fail', `pid ${child.pid ?? 0} holds it`);
    });

    it('finds an agent that is older than the programs', async () => {
      await desk.agent(...hasty);
      await new Promise((resolve) => setTimeout(resolve, 600));
      loadHere({ object: otherBuild });
      await found('NITY064', 'warn', /^\d\.\d s older than the programs$/);
    });

    it('finds that a broken edit of the services was refused', async () => {
      const { log } = await desk.agent(...hasty);
      writeFileSync(desk.services, 'services: nonsense');
      await until(() => log().includes('The last good services stay in force.'));
      await found('NITY066', 'fail', /^services refused: .*services\.yaml/);
    });

    it('finds that its socket is gone', async () => {
      await desk.agent(...hasty);
      rmSync(join(desk.directory, `${desk.pinPath.slice(1).replaceAll('/', '-')}.sock`));
      await found('NITY067', 'warn', 'no answer');
    });
  });

  describe('of the field', () => {
    it('finds routes without backends', async () => {
      desk.serve({ cart: 2, empty: 0 });
      await desk.agent(...hasty);
      await found('NITY075', 'fail', 'shop/empty:http');
    });

    it('finds an override that still stands', async () => {
      await desk.agent(...hasty);
      await desk.nity('set-mode', 'hard', '--route', 'shop/cart:http', '--ttl', '45m');
      await found('NITY077', 'warn', 'shop/cart:http hard for 45 min');
    });

    it('finds that an operator holds the projection', async () => {
      const { log } = await desk.agent(...hasty);
      // Only a table that was written once can be gone back to.
      const epochs = () => [...log().matchAll(/epoch \d+: /g)].length;
      desk.serve({ cart: 5, pay: 2 });
      await until(() => epochs() > 1);
      await desk.nity('flip', '--hold', '2m');
      await found('NITY078', 'warn', /^held for 1\d\d s$/);
    });

    it('finds tables that are nearly full', async () => {
      loadHere({ sizes: { backends: 7, routes: 64, slots: 1024, addresses: 64 } });
      await desk.agent(...hasty);
      await found('NITY079', 'warn', 'backends 6 of 6');
    });

    it('finds slots of a backend that has left', async () => {
      await deserted();
      onPlane((plane) => {
        plane.backends.write(1, { state: BackendState.retired });
      });
      await found('NITY071', 'fail', /^16 slots of shop\/cart:http$/);
    });

    it('finds slots that name nobody, or another route’s backend', async () => {
      await deserted();
      onPlane((plane) => {
        const { base, owners } = slotsOf(plane, 1);
        owners[base] = 0;
        owners[base + 1] = 6;
      });
      await found('NITY072', 'fail', '2 slots of shop/cart:http');
      // The books no longer agree either: two lost slots at least.
      await found('NITY074', 'warn', /^\d backends? differ$/);
    });

    it('finds ranges that two routes share', async () => {
      await deserted();
      onPlane((plane) => {
        const { slotRange } = plane.rtControl.read(1);
        plane.rtControl.write(2, { slotRange });
      });
      await found('NITY072', 'fail', 'the ranges of shop/pay:http are unsound');
    });

    it('finds an incomplete table in force', async () => {
      await deserted();
      onPlane((plane) => {
        plane.setTableEpoch(tableOf(plane.word('epoch')), 0n);
      });
      await found('NITY070', 'fail', /^epoch \d+ does not$/);
    });

    it('finds a fallback set that names nobody', async () => {
      await deserted();
      onPlane((plane) => {
        plane.fallback.fill(0);
      });
      await found('NITY073', 'fail', 'none for shop/cart:http, shop/pay:http');
    });

    it('finds a route that lost its address', async () => {
      await deserted();
      onPlane((plane) => {
        const { keys, count } = plane.routes.entries();
        const size = keys.length / count;
        for (let i = 0; i < count; i++) plane.routes.delete(keys.slice(i * size, (i + 1) * size));
      });
      await found('NITY076', 'warn', 'shop/cart:http, shop/pay:http');
    });

    it('finds that many of a route’s backends are isolated', async () => {
      await deserted();
      onPlane((plane) => {
        for (const index of [1, 2]) plane.backends.write(index, { state: BackendState.isolated });
      });
      await found('NITY080', 'warn', 'shop/cart:http 2 of 4');
    });

    it('finds that decisions were refused because of the tables', async () => {
      await deserted();
      onPlane((plane) => {
        const key = new Uint8Array(Uint32Array.of(Counter.refusedBoundary).buffer);
        const counts = plane.handle('counters').lookup(key) ?? new Uint8Array(8);
        counts[0] = 3;
        plane.handle('counters').update(key, counts);
      });
      await found('NITY081', 'warn', '0 incomplete, 3 at the boundary');
    });
  });

  describe('of others at the hooks', () => {
    it('finds a program that runs first', async () => {
      const link = attachForeign(desk.cgroup);
      try {
        loadHere();
        await found('NITY095', 'fail', 'empty_connect4 before nity_connect4');
      } finally {
        link.close();
      }
    });

    it('finds one that runs after', async () => {
      loadHere();
      const link = attachForeign(desk.cgroup);
      try {
        await found('NITY096', 'warn', 'empty_connect4 beside nity_connect4');
        expect((await diagnose('NITY095')).status).toBe('ok');
      } finally {
        link.close();
      }
    });

    it('finds one in a cgroup below', async () => {
      const below = join(desk.cgroup, 'below');
      mkdirSync(below);
      loadHere();
      const link = attachForeign(below);
      try {
        await found('NITY098', 'warn', `empty_connect4 at ${below}`);
      } finally {
        link.close();
        rmdirSync(below);
      }
    });

    it('finds another dataplane on the same cgroup', async () => {
      const second = `${desk.pinPath}-second`;
      loadHere();
      loadHere({ pinPath: second });
      try {
        await found('NITY097', 'fail', /^nity_sock_relea, .* more$/);
      } finally {
        unload({ pinPath: second, force: true });
      }
    });
  });
});
