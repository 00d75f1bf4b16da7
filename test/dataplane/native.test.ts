// The addon at its edge: errors that say what was tried, memory that outlives its
// handles, and one module loaded many times.
import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';

import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { cgroupRoot, mountsOf } from '../../src/lib/dataplane/cgroup.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import {
  BpfMap,
  BpfObject,
  compareExchange64,
  fileSystemType,
  loadAcquire64,
  Lock,
  monotonicNs,
  storeRelease64,
} from '../../src/lib/dataplane/native.js';
import { KernelError } from '../../src/lib/errors.js';

const addon = join(import.meta.dirname, '../../bpf/build/nity.node');

describe('words in shared memory', () => {
  it('are stored, loaded and exchanged whole', () => {
    const memory = new ArrayBuffer(32);
    storeRelease64(memory, 8, 0xffff_ffff_ffff_fffen);
    expect(loadAcquire64(memory, 8)).toBe(0xffff_ffff_ffff_fffen);
    expect(compareExchange64(memory, 8, 1n, 2n)).toBe(false);
    expect(compareExchange64(memory, 8, 0xffff_ffff_ffff_fffen, 2n)).toBe(true);
    expect(new DataView(memory).getBigUint64(8, true)).toBe(2n);
  });

  it.each([4, 32, -8, 28])('refuse the offset %d', (offset) => {
    expect(() => {
      storeRelease64(new ArrayBuffer(32), offset, 0n);
    }).toThrow(RangeError);
  });
});

describe('errors', () => {
  it('say what was tried, with errno and the call', () => {
    expect(() => BpfMap.open('/sys/fs/bpf/no-such-map')).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/ENOENT|EACCES|EPERM/) as string,
        syscall: 'bpf(BPF_OBJ_GET)',
        tried: 'Opening the map at /sys/fs/bpf/no-such-map',
      }) as Error,
    );
  });

  it('carry libbpf’s own words about a broken object', () => {
    const directory = mkdtempSync(join(tmpdir(), 'nity-native-'));
    const path = join(directory, 'broken.o');
    writeFileSync(path, 'not an object');
    expect(() => new BpfObject(path)).toThrow(
      expect.objectContaining({ log: expect.stringContaining('libbpf') as string }) as Error,
    );
    rmSync(directory, { recursive: true });
  });

  it('tell a class that is not made by `new`', () => {
    const raw = createRequire(import.meta.url)(addon) as { BpfMap: new () => unknown };
    expect(() => new raw.BpfMap()).toThrow(TypeError);
  });
});

describe('the model’s maps', () => {
  it('look like the kernel’s: lookup, update, delete, list, limits', () => {
    const map = new ModelSource(defaultKnobs, {
      slots: 64,
      routes: 4,
      backends: 4,
      addresses: 2,
      flows: 2,
    }).map('routes');
    const key = (n: number) => Uint8Array.of(n, 0, 0, 0, 0, 0, 0, 0);
    map.update(key(1), Uint8Array.of(1, 0, 0, 0));
    map.update(key(2), Uint8Array.of(2, 0, 0, 0));
    expect(map.lookup(key(1))).toEqual(Uint8Array.of(1, 0, 0, 0));
    expect(() => {
      map.update(key(3), Uint8Array.of(3, 0, 0, 0));
    }).toThrow(expect.objectContaining({ code: 'E2BIG' }) as Error);
    expect(map.entries().count).toBe(2);
    const both = Uint8Array.from([...key(1), ...key(2)]);
    map.updateBatch(both, Uint8Array.of(7, 0, 0, 0, 8, 0, 0, 0), 2);
    expect(map.lookup(key(2))).toEqual(Uint8Array.of(8, 0, 0, 0));
    expect(() => {
      map.updateBatch(both, new Uint8Array(4), 2);
    }).toThrow(RangeError);
    map.update(key(1), Uint8Array.of(1, 0, 0, 0));
    expect([map.delete(key(1)), map.delete(key(1))]).toEqual([true, false]);
    expect(map.lookup(key(1))).toBeUndefined();
    expect(() => map.lookup(new Uint8Array(3))).toThrow(RangeError);
  });

  it('share their memory, which outlives the model', () => {
    const mapped = () => {
      const source = new ModelSource(defaultKnobs);
      const memory = source.map('field_state').mmap();
      return memory;
    };
    const memory = mapped();
    for (let i = 0; i < 50; i++) mapped();
    (globalThis as { gc?: () => void }).gc?.();
    expect(loadAcquire64(memory, 0)).toBe(2n);
  });
});

describe('the module', () => {
  it('is loaded twice in one process', () => {
    const require = createRequire(import.meta.url);
    const first = require(addon) as { monotonicNs(): bigint };
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the cache is what is tested
    delete require.cache[addon];
    const second = require(addon) as { monotonicNs(): bigint };
    const before = first.monotonicNs();
    expect(second.monotonicNs() >= before).toBe(true);
  });

  it('is loaded in worker threads, each with classes of its own', async () => {
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { Model } = require(workerData);
      const model = new Model(64, 4, 4, 4, 4);
      model.setNowNs(7n);
      let code = '';
      try { model.map('nowhere'); } catch (error) { code = error.code; }
      parentPort.postMessage([String(model.nowNs()), code]);
    `;
    const answers = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise((resolve, reject) => {
            const worker = new Worker(script, { eval: true, workerData: addon });
            worker.once('message', resolve);
            worker.once('error', reject);
          }),
      ),
    );
    expect(answers).toEqual([1, 2, 3].map(() => ['7', 'ENOENT']));
  });
});

describe('this machine', () => {
  it('has a clock that is the kernel’s', () => {
    const before = process.hrtime.bigint();
    const now = monotonicNs();
    expect(now >= before && now - before < 1_000_000_000n).toBe(true);
  });

  it('gives a lock to one at a time, and back when it is released', () => {
    const directory = mkdtempSync(join(tmpdir(), 'nity-lock-'));
    const first = Lock.tryAcquire(directory, 'exclusive');
    expect(Lock.tryAcquire(directory, 'exclusive')).toBeUndefined();
    expect(Lock.tryAcquire(directory, 'shared')).toBeUndefined();
    first?.release();
    const shared = Lock.tryAcquire(directory, 'shared');
    expect(Lock.tryAcquire(directory, 'shared')).toBeDefined();
    shared?.release();
    rmSync(directory, { recursive: true });
  });

  it('is told from its mounts', () => {
    const mountinfo = [
      '24 30 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw',
      '35 24 0:30 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:9 - cgroup2 cgroup2 rw',
    ].join('\n');
    expect(mountsOf(mountinfo, 'cgroup2')).toEqual(['/sys/fs/cgroup/uni fied']);
    expect(cgroupRoot(mountinfo)).toBe('/sys/fs/cgroup/uni fied');
    expect(() => cgroupRoot('24 30 0:22 / / rw - ext4 x rw')).toThrow(KernelError);
    expect(fileSystemType('/proc')).toBe('other');
  });
});
