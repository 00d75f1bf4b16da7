// What a mask hides, what it leaves, and that it is one to one.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Mask, withoutSecrets } from '../../src/lib/bugreport/mask.js';

function maskOf(...routes: readonly string[]): Mask {
  const mask = new Mask();
  mask.learn(routes);
  return mask;
}

describe('a mask', () => {
  it('hides IPv4 and IPv6 addresses and leaves their ports', () => {
    const mask = new Mask();
    expect(mask.text('from 10.1.2.3:8080 to [fd00::1]:443, not 10.1.2.3.')).toBe(
      'from address-1:8080 to [address-2]:443, not address-1.',
    );
    expect(mask.text('::ffff:10.1.2.3 and 80:10.1.2.4:90')).toBe('address-3 and 80:address-4:90');
  });

  it('leaves times, versions and places in files, which only look like addresses', () => {
    const plain = 'at 02:06:48.123 on 6.18.44, v1.1, line 7:37, epoch 12:3, schema 1.1, a:b';
    expect(new Mask().text(plain)).toBe(plain);
  });

  it('hides namespaces and services wherever they stand by themselves, in names of pods too', () => {
    const mask = maskOf('shop/cart:http');
    expect(mask.text('shop/cart:http, pod cart-7f9c in Shop, cartoon, workshop')).toBe(
      'name-1/name-2:http, pod name-2-7f9c in name-1, cartoon, workshop',
    );
  });

  it('leaves names that every cluster has, which are words of ours too', () => {
    const mask = maskOf('default/cart:http', 'kube-system/kube-dns:dns');
    expect(mask.text('default/cart, by default; kube-system/kube-dns')).toBe(
      'default/name-1, by default; kube-system/kube-dns',
    );
  });

  it('hides paths but those of the system, and never masks a mask', () => {
    const mask = maskOf('address/path:http');
    expect(mask.text('/home/ada/services.yaml:7:3 at 10.0.0.1, pinned at /sys/fs/bpf/nity')).toBe(
      'path-1:7:3 at address-1, pinned at /sys/fs/bpf/nity',
    );
    expect(mask.text('/sys/fs/cgroup/kubepods.slice/pod1 of address')).toBe('path-2 of name-1');
  });

  it('hides a sentence that an operator wrote whole', () => {
    const mask = maskOf('shop/cart:http');
    mask.withhold('for cart (see #12)');
    expect(mask.value({ reason: 'for cart (see #12)', by: 0 })).toEqual({
      reason: '<withheld>',
      by: 0,
    });
  });

  it('leaves our own keys, whatever a service is called, and hides keys that are data', () => {
    const mask = maskOf('slots/routes:http');
    expect(mask.value({ slots: 4, 'slots/routes:http': [{ routes: 'slots' }] })).toEqual({
      slots: 4,
      'name-1/name-2:http': [{ routes: 'name-1' }],
    });
  });

  it('is one to one, and its legend gives every address back', () => {
    const mask = new Mask();
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
        const masked = mask.text(`connect ${address}: refused`);
        const [, name = ''] = /^connect (address-\d+): refused$/.exec(masked) ?? [];
        expect(mask.legend()[name]).toBe(address);
      }),
    );
  });

  it('hides a whole IPv6 address before a port, brackets or none', () => {
    const mask = new Mask();
    expect(mask.text('2001:db8:0:0:0:0:0:1:8080 and [2001:db8:0:0:0:0:0:1]:80')).toBe(
      'address-1:8080 and [address-1]:80',
    );
  });
});

describe('secrets', () => {
  it.each([
    ['Authorization: Bearer abc.def-123456', 'Authorization: Bearer <secret>'],
    ['password=hunter2 stays out', 'password=<secret> stays out'],
    ['"apiKey": "s3cr3t",', '"apiKey": "<secret>",'],
    ['https://ada:pw@registry/x', 'https://<secret>@registry/x'],
    ['eyJhbGciOi.eyJzdWIi.sig here', '<secret> here'],
    ['key -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- end', 'key <secret> end'],
  ])('%j becomes %j', (text, expected) => {
    expect(withoutSecrets(text)).toBe(expected);
  });

  it('leaves what only sounds like one', () => {
    const plain = 'the token bucket of shop/cart:http; basic checks; secretary';
    expect(withoutSecrets(plain)).toBe(plain);
  });
});
