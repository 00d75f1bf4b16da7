// What a refusal is blamed on: the capabilities that a process lacks.
import { describe, expect, it } from 'vitest';

import { heldCapabilities, missingCapabilities } from '../../src/lib/dataplane/capabilities.js';

const missing = (effective: string) =>
  missingCapabilities(heldCapabilities(`CapPrm:\t0000000000000000\nCapEff:\t${effective}\n`));

describe('missing capabilities', () => {
  it('are none with the three of the manifest', () => {
    expect(missing('000000c000001000')).toEqual([]);
  });

  it('are named, each', () => {
    expect(missing('0000004000001000')).toEqual(['CAP_BPF']);
    expect(missing('0000000000000000')).toEqual(['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON']);
  });

  it('are not what CAP_SYS_ADMIN stands for, which is all but CAP_NET_ADMIN', () => {
    expect(missing('0000000000200000')).toEqual(['CAP_NET_ADMIN']);
  });
});
