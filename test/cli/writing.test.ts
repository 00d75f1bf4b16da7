// What could not be written is told with its place, and what is told already stays as it is.
import { describe, expect, it } from 'vitest';

import { writing } from '../../src/lib/cli/writing.js';
import { InputError, PrivilegeError } from '../../src/lib/errors.js';

describe('what is written', () => {
  const failingWith = (error: Error) => () => {
    writing('/tmp/report', () => {
      throw error;
    });
  };

  it('and could not be is a failure of its place, by the kernel’s word', () => {
    const full = Object.assign(new Error('write failed'), { code: 'ENOSPC' });
    expect(failingWith(full)).toThrow(InputError);
    expect(failingWith(full)).toThrow('/tmp/report could not be written (ENOSPC).');
  });

  it('and failed for another reason of ours keeps that reason', () => {
    const refused = new PrivilegeError('The kernel refused it.', 'Ask for more.');
    expect(failingWith(refused)).toThrow(refused);
  });
});
