// How much of a route is enforced: what may be written, and whose word is heard.
import { describe, expect, it } from 'vitest';

import { InputError } from '../../src/lib/errors.js';
import {
  describeEnforce,
  enforceByNamespace,
  enforcedPercent,
  readEnforce,
} from '../../src/lib/routes/enforce.js';

describe('what is enforced', () => {
  it.each([
    ['full', 100],
    ['observe', 0],
    ['0%', 0],
    ['25%', 25],
    ['100%', 100],
  ])('%s is read', (text, percent) => {
    expect(readEnforce(text)).toBe(percent);
    expect(readEnforce(describeEnforce(percent))).toBe(percent);
  });

  it.each(['', 'Observe', '25', '101%', '-1%', '2.5%', '1000%', 'toString'])(
    '%j is none',
    (text) => {
      expect(readEnforce(text)).toBeUndefined();
    },
  );

  it('is said for each namespace', () => {
    expect([...enforceByNamespace('shop=observe, batch=25%,')]).toEqual([
      ['shop', 0],
      ['batch', 25],
    ]);
    expect(enforceByNamespace(undefined).size).toBe(0);
  });

  it.each([
    ['shop', '--enforce-namespaces: shop names no namespace.'],
    ['Shop=full', '--enforce-namespaces: Shop=full names no namespace.'],
    ['shop=off', '--enforce-namespaces: shop: expected full, observe or a percentage such as 25%.'],
    ['shop=full,shop=observe', '--enforce-namespaces names shop twice.'],
  ])('%s is refused', (text, message) => {
    expect(() => enforceByNamespace(text)).toThrow(InputError);
    expect(() => enforceByNamespace(text)).toThrow(message);
  });

  it('is what the nearest says', () => {
    const name = 'shop/cart:http';
    const shop = new Map([['shop', 25]]);
    expect(enforcedPercent({ name, enforcePercent: 0 }, shop, 60)).toBe(0);
    expect(enforcedPercent({ name }, shop, 60)).toBe(25);
    expect(enforcedPercent({ name: 'shop-b/cart:http' }, shop, 60)).toBe(60);
  });
});
