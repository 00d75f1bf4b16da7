// The sockets that hold a flow, listed or refused: what is said of a refusal, and what the
// open counts are compared with. Here no kernel is asked, so that it is the same on each.
import { beforeEach, describe, expect, it } from 'vitest';

import { defaultKnobs } from '../../src/lib/config/knobs.js';
import { FlowPhase } from '../../src/lib/dataplane/abi.js';
import { ModelSource } from '../../src/lib/dataplane/model-source.js';
import { codecs, type Plane } from '../../src/lib/dataplane/plane.js';
import { Reconciler } from '../../src/lib/dataplane/reconcile.js';
import { Snapshot } from '../../src/lib/dataplane/snapshot.js';
import {
  explainRefusal,
  type SocketListing,
  type SocketsRefused,
} from '../../src/lib/dataplane/sockets.js';
import type { Struct } from '../../src/lib/dataplane/struct.js';

const answered = (code: string) => Object.assign(new Error(`Listing: ${code}`), { code });

describe('a refusal', () => {
  it('asks for the capability that is missing, and for none that is held', () => {
    const lacking = explainRefusal(answered('EPERM'), ['CAP_PERFMON']);
    expect(lacking.cause).toMatch(/lacks CAP_PERFMON$/);
    expect(lacking.advice).toContain('PERFMON]');
    const policy = explainRefusal(answered('EPERM'), []);
    expect(policy.cause).toMatch(/policy .*lockdown or a security module.* refuses tracing/);
    expect(policy.advice).toMatch(/Connects are served/);
    expect(policy.cause + policy.advice).not.toContain('PERFMON');
  });

  it('is not put down to CAP_NET_ADMIN, which no tracing program needs', () => {
    expect(explainRefusal(answered('EPERM'), ['CAP_NET_ADMIN']).cause).toContain('policy');
  });

  it('of another kind says what the kernel answered, and where to look for BTF', () => {
    const { cause, advice } = explainRefusal(answered('ESRCH'), []);
    expect(cause).toContain('ESRCH');
    expect(advice).toContain('NITY021');
  });
});

describe('open counts', () => {
  const backend = 3;
  const generation = 7;
  const refused: SocketsRefused = { kind: 'refused', cause: 'a policy', advice: 'None.' };
  let plane: Plane;
  let listing: SocketListing;

  const socket = (flow: Partial<Struct<'flow'>>): Struct<'socket'> => {
    const empty = codecs.socket.decodeBytes(new Uint8Array(codecs.socket.size));
    const phase = FlowPhase.established;
    return { ...empty, flow: { ...empty.flow, backend, generation, phase, ...flow } };
  };
  const listed = (...sockets: readonly Struct<'socket'>[]): SocketListing => ({
    kind: 'listed',
    sockets,
  });
  const open = () => plane.backendLive.get(backend, 'open');

  beforeEach(() => {
    plane = new ModelSource(defaultKnobs).plane();
    plane.backends.write(backend, { generation });
    plane.backendLive.write(backend, { open: 7, failures: 2 });
  });

  it('are put right by what the sockets say twice, and nothing beside them is touched', () => {
    listing = listed(socket({}), socket({}));
    const reconciler = new Reconciler(plane, () => listing);
    expect(reconciler.run([backend])).toEqual({ kind: 'compared', corrected: 0 });
    expect(open()).toBe(7);
    expect(reconciler.run([backend])).toEqual({ kind: 'compared', corrected: 1 });
    expect(open()).toBe(2);
    expect(plane.backendLive.get(backend, 'failures')).toBe(2);
  });

  it('are left alone by a difference that passes', () => {
    const reconciler = new Reconciler(plane, () => listing);
    listing = listed(socket({}));
    reconciler.run([backend]);
    listing = listed(socket({}), socket({}));
    reconciler.run([backend]);
    expect(open()).toBe(7);
  });

  it('hold no flow that is settled, nor one of a backend that was there before', () => {
    listing = listed(
      socket({}),
      socket({ phase: FlowPhase.settled }),
      socket({ generation: generation - 1 }),
    );
    const reconciler = new Reconciler(plane, () => listing);
    reconciler.run([backend]);
    reconciler.run([backend]);
    expect(open()).toBe(1);
  });

  it('are trusted as they are where the sockets are not listed, and nothing is believed later', () => {
    const reconciler = new Reconciler(plane, () => listing);
    listing = listed(socket({}));
    reconciler.run([backend]);
    listing = refused;
    expect(reconciler.run([backend])).toBe(refused);
    listing = listed(socket({}));
    expect(reconciler.run([backend])).toEqual({ kind: 'compared', corrected: 0 });
    expect(open()).toBe(7);
  });
});

describe('the flows of a snapshot', () => {
  it('say why those of sockets are missing, and are the others then', () => {
    const snapshot = new Snapshot(new ModelSource(defaultKnobs).plane());
    const refused: SocketsRefused = { kind: 'refused', cause: 'a policy', advice: 'None.' };
    expect(snapshot.flows(() => refused)).toEqual({ flows: [], socketsMissing: refused });
    expect(snapshot.flows(() => ({ kind: 'listed', sockets: [] }))).toEqual({
      flows: [],
      socketsMissing: null,
    });
  });
});
