// Texts that no kernel would write, and those it would but for a few bytes.
import fc from 'fast-check';

import type { Reading } from '../../src/lib/field/signals.js';

const words = fc
  .array(
    fc.constantFrom(
      ...['some ', 'full ', ' total=', '1', '99999999999999999999', '-1', '\n', '0.00 ', ' ', '\t'],
      ...['MemTotal:', 'MemAvailable:', ' kB', 'TCP: ', 'TCP6: ', 'inuse ', 'tw ', '5/140 ', 'max'],
      ...[
        '31 23 0:28 / /sys/fs/cgroup rw - ',
        'cgroup2 ',
        'cgroup cgroup rw,memory',
        '\\040',
        '/..',
      ],
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(''));

export const anyString = fc.oneof(fc.string({ unit: 'binary' }), words);

export const anyText: fc.Arbitrary<Reading<string>> = fc.oneof(
  anyString.map((value) => ({ kind: 'read' as const, value })),
  fc.constant({ kind: 'missing' as const, why: 'there is no such file' }),
);
