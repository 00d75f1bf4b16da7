// A container may hold every capability and still be refused, by its filter of system calls.
import { describe, expect, it } from 'vitest';

import { isFiltered } from '../../src/lib/dataplane/privilege.js';

const status = (effective: string, seccomp: number) =>
  `Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t${effective}\nSeccomp:\t${seccomp}\n`;

describe('a refusal is blamed on the seccomp filter', () => {
  it('when the three capabilities are held and a filter is in force', () => {
    expect(isFiltered(status('000000c000001000', 2))).toBe(true);
  });

  it('not when a capability is missing, or there is no filter', () => {
    expect(isFiltered(status('0000004000001000', 2))).toBe(false);
    expect(isFiltered(status('000000c000001000', 0))).toBe(false);
  });

  it('not when CAP_SYS_ADMIN is held, which every profile lets call bpf(2)', () => {
    expect(isFiltered(status('000001ffffffffff', 2))).toBe(false);
  });
});
