// The cgroup of a local backend in the services file: a path that stays below the root.
import fc from 'fast-check';
import { normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

import { cgroupPath, endpointId } from '../../src/lib/routes/route-set.js';
import { parseServices } from '../../src/lib/routes/services-file.js';
import { describeProblem } from '../../src/lib/yaml-input.js';

const withCgroup = (cgroup: string) => `services:
  - name: a/b
    vip: 127.96.0.1
    ports: [{ port: 80 }]
    backends: [{ address: 127.0.0.1, port: 1, cgroup: ${cgroup} }]
`;

describe("a backend's cgroup", () => {
  it('is known, and no part of what identifies the backend', () => {
    const parsed = parseServices(withCgroup('/kubepods/burstable/pod1'), 'f.yaml');
    const [backend] = parsed.ok ? (parsed.routes[0]?.backends ?? []) : [];
    expect(backend).toEqual({
      address: '127.0.0.1',
      port: 1,
      cgroup: '/kubepods/burstable/pod1',
    });
    expect(backend && endpointId(backend)).toBe('127.0.0.1:1');
  });

  it.each([
    'kubepods/pod1',
    '/',
    '/a/../b',
    '/a/',
    '/a//b',
    '"/a\\0"',
    '7',
    `/${'a'.repeat(1000)}`,
  ])('is refused if it is %s', (cgroup) => {
    const parsed = parseServices(withCgroup(cgroup), 'f.yaml');
    expect(parsed.ok ? [] : parsed.problems.map(describeProblem)).toEqual([
      expect.stringMatching(/^f\.yaml:5:\d+: services\[0\]\.backends\[0\]\.cgroup: expected /),
    ]);
  });

  it('never leads out of the hierarchy', () => {
    const parts = fc.array(fc.oneof(fc.constantFrom('', '.', '..', 'a'), fc.string()));
    fc.assert(
      fc.property(parts, (names) => {
        const path = names.join('/');
        if (cgroupPath.test(path)) expect(normalize(`/sys/fs${path}`)).toBe(`/sys/fs${path}`);
      }),
    );
  });
});
