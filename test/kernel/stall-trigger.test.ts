// Stall triggers on a real kernel: that a stall wakes us, and that a watch ends cleanly
// however it ends.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, describe, expect, it } from 'vitest';

import { cgroupRoot } from '../../src/lib/dataplane/cgroup.js';
import { watchPriority } from '../../src/lib/dataplane/readiness.js';
import { StallTrigger, type StallTriggerOptions } from '../../src/lib/sensors/stall-trigger.js';
import { unavailable } from './rig.js';

const addon = fileURLToPath(new URL('../../bpf/build/nity.node', import.meta.url));
const children: ChildProcess[] = [];
let trigger: StallTrigger | undefined;

afterEach(() => {
  trigger?.close();
  trigger = undefined;
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const quiet = { resource: 'cpu', kind: 'some', stallMs: 1, onStall: () => undefined } as const;

/** The shortest window that this process may have: without CAP_SYS_RESOURCE it is 2 s. */
const shortestMs = [500, 2_000].find((windowMs) => {
  const opened = StallTrigger.open({ ...quiet, windowMs });
  if (opened.kind === 'read') opened.value.close();
  return opened.kind === 'read';
});

function open(options: Omit<StallTriggerOptions, 'windowMs'>): void {
  const opened = StallTrigger.open({ ...options, windowMs: shortestMs ?? 2_000 });
  if (opened.kind === 'missing') throw new Error(opened.why);
  trigger = opened.value;
}

/** More processes than CPUs, which end by themselves should nobody end them. */
function makeBusy(forMs: number): void {
  const spin = `const end = Date.now() + ${forMs}; while (Date.now() < end);`;
  for (let i = 0; i < 6; i++) children.push(spawn(process.execPath, ['-e', spin]));
}

describe('a stall trigger', () => {
  it.each([
    ['a window that is too short', { windowMs: 499 }, /^a stall window of 499 ms is not from 500/],
    ['a window that is too long', { windowMs: 10_001 }, /not from 500 to 10000 ms$/],
    ['no window at all', { windowMs: NaN }, /^a stall window of NaN ms/],
    ['a stall beyond it', { stallMs: 2_001 }, /^a stall of 2001 ms does not fit a window of 2000/],
    ['no such file', { path: '/proc/pressure/none' }, /none does not exist$/],
    [
      'a file of another kind',
      { path: '/proc/version' },
      /^a trigger cannot be set at|may not set/,
    ],
  ])('is refused with a reason: %s', (_what, wrong, why) => {
    expect(StallTrigger.open({ ...quiet, windowMs: 2_000, ...wrong })).toEqual({
      kind: 'missing',
      why: expect.stringMatching(why) as string,
    });
  });
});

describe.skipIf(unavailable !== undefined || shortestMs === undefined)('on this kernel', () => {
  it('a stall of the CPU wakes us', { timeout: 20_000 }, async () => {
    const stalled = new Promise<void>((resolve) => {
      open({ ...quiet, stallMs: 100, onStall: resolve });
    });
    makeBusy(8_000);
    await stalled;
  });

  it('nothing is called once it is closed', { timeout: 20_000 }, async () => {
    let calls = 0;
    open({ ...quiet, onStall: () => calls++ });
    trigger?.close();
    trigger?.close();
    const other = new Promise<void>((resolve) => {
      open({ ...quiet, stallMs: 100, onStall: resolve });
    });
    makeBusy(8_000);
    await other;
    expect(calls).toBe(0);
  });

  it('it ends by itself, once, with its cgroup', { timeout: 20_000 }, async () => {
    const at = join(cgroupRoot(), `nity-trigger-${process.pid}`);
    mkdirSync(at);
    let calls = 0;
    const gone = new Promise<void>((resolve) => {
      open({
        ...quiet,
        path: join(at, 'cpu.pressure'),
        onStall: () => calls++,
        onGone: resolve,
      });
    });
    rmdirSync(at);
    await gone;
    expect(calls).toBe(0);
  });

  it('it holds no descriptor when it is closed', () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    open(quiet);
    trigger?.close();
    const before = descriptors();
    for (let i = 0; i < 50; i++) {
      open(quiet);
      trigger?.close();
    }
    expect(descriptors()).toBe(before);
  });
});

describe('a watch of a descriptor', () => {
  it('is refused for what cannot be polled', () => {
    const never = () => undefined;
    expect(() => watchPriority(-1, never)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });

  const inAnotherProcess = (script: string) => {
    const setUp = `
      const { spawn } = require('node:child_process');
      const { constants, openSync, writeSync, closeSync } = require('node:fs');
      const { Worker } = require('node:worker_threads');
      const { PriorityPoll } = require(${JSON.stringify(addon)});
      const spin = 'const end = Date.now() + 8000; while (Date.now() < end);';
      function makeBusy() {
        return Array.from({ length: 6 }, () => spawn(process.execPath, ['-e', spin]));
      }
      function watch(onReady) {
        const fd = openSync('/proc/pressure/cpu', constants.O_RDWR | constants.O_NONBLOCK);
        try {
          writeSync(fd, 'some 1 2000000\\0');
          return new PriorityPoll(fd, onReady);
        } finally {
          closeSync(fd);
        }
      }
    `;
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      ['--expose-gc', '-e', setUp + script],
      { encoding: 'utf8', timeout: 20_000 },
    );
    return { status, signal, stdout, stderr };
  };
  const clean = { status: 0, signal: null, stdout: '', stderr: '' };

  describe.skipIf(!existsSync('/proc/pressure/cpu') || shortestMs === undefined)(
    'of another process',
    () => {
      it('does not keep it alive', () => {
        expect(inAnotherProcess('watch(() => {});')).toEqual(clean);
      });

      it('may be forgotten, or closed twice', () => {
        const script = `
          for (let i = 0; i < 100; i++) { const one = watch(() => {}); one.close(); one.close(); }
          for (let i = 0; i < 20; i++) watch(() => {});
          setImmediate(gc);
        `;
        expect(inAnotherProcess(script)).toEqual(clean);
      });

      // Without a trigger such a file is "gone" at once, so that each thread ends amid its calls.
      it.each(['', 'process.exit(0);', 'setTimeout(() => {}, 50);'])(
        'is closed by the end of a thread %s',
        (end) => {
          const thread = `
            const { PriorityPoll } = require(${JSON.stringify(addon)});
            const fd = require("node:fs").openSync("/proc/pressure/cpu", "r");
            for (let i = 0; i < 10; i++) new PriorityPoll(fd, () => {});
            new PriorityPoll(fd, () => {}).close();
            ${end}
          `;
          const script = `
            for (let i = 0; i < 4; i++) new Worker(${JSON.stringify(thread)}, { eval: true });
          `;
          expect(inAnotherProcess(script)).toEqual(clean);
        },
      );

      it('is called until it is closed, also from within its call', { timeout: 30_000 }, () => {
        const script = `
          const children = makeBusy();
          const alive = setInterval(() => {}, 1000);
          const one = watch((gone) => {
            one.close();
            clearInterval(alive);
            for (const child of children) child.kill('SIGKILL');
            process.stdout.write(String(gone));
          });
        `;
        expect(inAnotherProcess(script)).toEqual({ ...clean, stdout: 'false' });
      });

      it('ends it with what its call throws', { timeout: 30_000 }, () => {
        const script = `
          const children = makeBusy();
          setInterval(() => {}, 1000);
          watch(() => {
            for (const child of children) child.kill('SIGKILL');
            throw new Error('thrown on purpose');
          });
        `;
        const { status, stderr } = inAnotherProcess(script);
        expect(status).toBe(1);
        expect(stderr).toContain('thrown on purpose');
      });
    },
  );
});
