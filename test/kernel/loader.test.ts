// Loading, upgrading and unloading: all or nothing, and never a connect in
// between that is not translated.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { load } from '../../src/lib/dataplane/loader.js';
import { unload } from '../../src/lib/dataplane/unload.js';
import { BpfLink, BpfMap, BpfProgram } from '../../src/lib/dataplane/native.js';
import { linkPin, mapPin } from '../../src/lib/dataplane/pins.js';
import { mapNames, schemaWord } from '../../src/lib/dataplane/plane.js';
import { objectPath, programNames } from '../../src/lib/dataplane/programs.js';
import {
  errnoOf,
  KernelError,
  SchemaError,
  UnsafeError,
  UsageError,
} from '../../src/lib/errors.js';
import { otherBuild, Rig, unavailable } from './rig.js';

/** Walked instructions of the costliest program today, with a quarter to spare. */
const instructionBound = 130_000;

function programId(pinPath: string, name: string): number {
  const link = BpfLink.open(linkPin(pinPath, name));
  const { programId: id } = link.info();
  link.close();
  return id;
}

describe.skipIf(unavailable !== undefined)('loading', () => {
  let rig: Rig;
  const options = () => ({ pinPath: rig.pinPath, cgroup: rig.cgroup, knobs: defaultKnobs });

  beforeEach(() => {
    rig = new Rig();
    rig.start();
  });

  afterEach(async () => {
    await rig.stop();
  });

  it('changes nothing the second time', () => {
    const before = programNames.map((name) => programId(rig.pinPath, name));
    expect(load(options()).action).toBe('unchanged');
    expect(programNames.map((name) => programId(rig.pinPath, name))).toEqual(before);
  });

  it('replaces the programs in place, keeps the maps, and fails no connect meanwhile', async () => {
    const route = rig.route(await rig.startServers(2));
    rig.serve([route]);
    const object = otherBuild(rig.directory);
    const routesId = BpfMap.open(mapPin(rig.pinPath, 'routes')).info().id;
    const before = programId(rig.pinPath, 'nity_sock_release');
    const load_ = rig.sockets('dial', route, 1500);
    const actions = [];
    for (const next of [object, objectPath, object, objectPath]) {
      actions.push(load({ ...options(), object: next }).action);
      rig.projector.heartbeat();
    }
    expect(actions).toEqual(['upgraded', 'upgraded', 'upgraded', 'upgraded']);
    const [admitted, refused] = (await load_).split(' ').map(Number);
    expect(admitted).toBeGreaterThan(100);
    expect(refused).toBe(0);
    // Untranslated connects would have met nobody's counters.
    expect(rig.snapshot.routes()[0]?.picks).toBe(BigInt(admitted ?? 0));
    expect(programId(rig.pinPath, 'nity_sock_release')).not.toBe(before);
    expect(BpfMap.open(mapPin(rig.pinPath, 'routes')).info().id).toBe(routesId);
  });

  it('verifies on a dry run, and changes nothing', () => {
    const before = programNames.map((name) => programId(rig.pinPath, name));
    expect(load({ ...options(), object: otherBuild(rig.directory), dryRun: true }).action).toBe(
      'upgraded',
    );
    expect(programNames.map((name) => programId(rig.pinPath, name))).toEqual(before);
  });

  it('refuses pins of another major schema, and leaves them', () => {
    rig.plane.fieldState.write(0, { schema: schemaWord - 0x1_0000 });
    const before = programNames.map((name) => programId(rig.pinPath, name));
    expect(() => load(options())).toThrow(SchemaError);
    expect(programNames.map((name) => programId(rig.pinPath, name))).toEqual(before);
  });

  it('refuses to move to another cgroup', () => {
    const elsewhere = join(rig.cgroup, 'below');
    mkdirSync(elsewhere);
    expect(() => load({ ...options(), cgroup: elsewhere })).toThrow(UnsafeError);
    execFileSync('rmdir', [elsewhere]);
  });

  it('leaves what was there when a new build does not load', () => {
    const broken = join(rig.directory, 'broken.bpf.o');
    writeFileSync(broken, 'no object at all');
    const before = programNames.map((name) => programId(rig.pinPath, name));
    expect(() => load({ ...options(), object: broken })).toThrow(KernelError);
    expect(programNames.map((name) => programId(rig.pinPath, name))).toEqual(before);
  });

  it('leaves nothing when a fresh load fails half-way', () => {
    const pinPath = `${rig.pinPath}-fresh`;
    // The maps load and are pinned; attaching to what is no directory fails.
    const cgroup = join(rig.cgroup, 'cgroup.procs');
    expect(() => load({ ...options(), pinPath, cgroup })).toThrow(KernelError);
    expect(readdirSync('/sys/fs/bpf').filter((name) => name.includes('-fresh'))).toEqual([]);
  });

  it('refuses what is no cgroup before it makes anything', () => {
    for (const cgroup of [rig.directory, '/no/such/place']) {
      expect(() => load({ ...options(), cgroup })).toThrow(UsageError);
    }
  });

  it('clears away what a load that was killed had staged', () => {
    const pinPath = `${rig.pinPath}-killed`;
    const staged = `${pinPath}-loading-1`;
    mkdirSync(join(staged, 'maps'), { recursive: true });
    unload({ pinPath });
    load({ ...options(), pinPath, dryRun: true });
    expect(existsSync(staged)).toBe(false);
  });

  it('removes everything it pinned and nothing else', () => {
    const foreign = join(rig.pinPath, 'maps', 'not_ours');
    BpfMap.open(mapPin(rig.pinPath, 'routes')).pin(foreign);
    const { removed } = unload({ pinPath: rig.pinPath });
    expect(removed).toHaveLength(programNames.length + mapNames.length);
    expect(readdirSync(join(rig.pinPath, 'maps'))).toEqual(['not_ours']);
    execFileSync('rm', ['-r', rig.pinPath]);
    expect(unload({ pinPath: rig.pinPath }).action).toBe('absent');
  });

  it('walks no more instructions than its bound', () => {
    for (const name of programNames) {
      const info = BpfProgram.byId(programId(rig.pinPath, name)).info();
      expect(info.verifiedInstructions, name).toBeGreaterThan(0);
      expect(info.verifiedInstructions, name).toBeLessThan(instructionBound);
    }
  });

  it('lists, looks up and deletes what was written in one batch', () => {
    const routes = rig.plane.routes;
    const keys = new Uint8Array(100 * 8).map((_, i) => (i % 8 === 0 ? i / 8 : i % 8 === 1 ? 1 : 0));
    const values = new Uint8Array(100 * 4).fill(3);
    routes.updateBatch(keys, values, 100);
    expect(routes.entries().count).toBe(100);
    expect(routes.lookup(keys.subarray(8, 16))).toEqual(Uint8Array.of(3, 3, 3, 3));
    expect([routes.delete(keys.subarray(8, 16)), routes.delete(keys.subarray(8, 16))]).toEqual([
      true,
      false,
    ]);
    expect(routes.entries().count).toBe(99);
    expect(() => routes.lookup(new Uint8Array(3))).toThrow(RangeError);
  });

  it('tells a missing pin by errno', () => {
    try {
      BpfMap.open(mapPin(rig.pinPath, 'routes').replace('routes', 'nowhere'));
      expect.unreachable();
    } catch (error) {
      expect(errnoOf(error)).toBe('ENOENT');
      expect(error).toMatchObject({ syscall: 'bpf(BPF_OBJ_GET)', errno: 2 });
    }
  });
});
