// The services file: what is read, and where each mistake is pointed at.
import { describe, expect, it } from 'vitest';

import { parseServices } from '../../src/lib/routes/services-file.js';
import { describeProblem } from '../../src/lib/yaml-input.js';

const good = `services:
  - name: shop/cart
    vip: 127.96.0.10
    ports:
      - { name: http, port: 80, protocol: TCP }
      - { name: admin, port: 81 }
    affinity: { clientIP: { timeoutSeconds: 60 } }
    gear: twin
    backends:
      - { address: 127.0.0.1, port: { http: 21001, admin: 21002 } }
  - name: shop/empty
    vip: 127.96.0.11
    ports: [{ port: 80 }]
    backends: []
`;

function problems(text: string): string[] {
  const parsed = parseServices(text, 'f.yaml');
  return parsed.ok ? [] : parsed.problems.map(describeProblem);
}

const one = (more: string) => `services:
  - name: a/b
    vip: 127.96.0.1
    ports: [{ port: 80 }]
${more}
`;

describe('a services file', () => {
  it('makes one route of each port', () => {
    const parsed = parseServices(good, 'f.yaml');
    expect(parsed).toMatchObject({
      ok: true,
      routes: [
        {
          name: 'shop/cart:http',
          addresses: [{ vip: '127.96.0.10', port: 80, protocol: 'TCP' }],
          backends: [{ address: '127.0.0.1', port: 21001 }],
          affinity: { kind: 'clientIP', timeoutSeconds: 60 },
          gear: 'twin',
        },
        { name: 'shop/cart:admin', backends: [{ port: 21002 }] },
        { name: 'shop/empty:80', backends: [], affinity: { kind: 'none' }, gear: 'auto' },
      ],
    });
  });

  it.each([
    ['an empty file', '', ['f.yaml:1:1: services: is missing']],
    [
      'broken YAML',
      'services:\n  - [',
      [
        'f.yaml:2:6: Flow sequence in block collection must be sufficiently indented and end with a ]',
      ],
    ],
    ['a key given twice', 'services: []\nservices: []\n', ['f.yaml:2:1: Map keys must be unique']],
    ['an unknown key', 'services: []\nroutes: []\n', ['f.yaml:2:1: routes: unknown key']],
    ['a missing list', one(''), ['f.yaml:2:5: services[0].backends: is missing']],
    [
      'a bad address',
      one('    backends: [{ address: 127.0.0.300, port: 1 }]'),
      ['f.yaml:5:27: services[0].backends[0].address: expected an IPv4 address such as 10.0.0.1'],
    ],
    [
      'a bad port',
      one('    backends: [{ address: 127.0.0.1, port: 0 }]'),
      ['f.yaml:5:44: services[0].backends[0].port: expected a port from 1 to 65535'],
    ],
    [
      'a backend given twice',
      one('    backends: [{ address: 127.0.0.1, port: 1 }, { address: 127.0.0.1, port: 1 }]'),
      [
        'f.yaml:5:49: services[0].backends[1]: backend of a/b:80 127.0.0.1:1 is given twice, first at services[0].backends[0]',
      ],
    ],
    [
      'itself as backend',
      one('    backends: [{ address: 127.96.0.1, port: 80 }]'),
      ['f.yaml:5:16: services[0].backends[0]: is the service itself'],
    ],
    [
      'another protocol',
      one('    backends: []').replace('port: 80', 'port: 80, protocol: UDP'),
      ['f.yaml:4:35: services[0].ports[0].protocol: expected TCP: it is all that is served yet'],
    ],
    [
      'a bad name',
      one('    backends: []').replace('a/b', 'A/B'),
      ['f.yaml:2:11: services[0].name: expected namespace/service in lower case'],
    ],
    [
      'a wrong enforce',
      one('    enforce: sometimes\n    backends: []'),
      ['f.yaml:5:14: services[0].enforce: expected full, observe or a percentage such as 25%'],
    ],
    [
      'a wrong enforce of all',
      `enforce: 50\n${one('    backends: []')}`,
      ['f.yaml:1:10: enforce: expected full, observe or a percentage such as 25%'],
    ],
  ])('points at %s', (_what, text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  it('says what is enforced, of a service or of all that do not', () => {
    const enforced = (text: string) => {
      const parsed = parseServices(text, 'f.yaml');
      if (!parsed.ok) throw new Error('the file is good');
      return parsed.routes.map(({ enforcePercent }) => enforcePercent);
    };
    expect(enforced(good)).toEqual([undefined, undefined, undefined]);
    expect(enforced(`enforce: observe\n${good}`)).toEqual([0, 0, 0]);
    const own = good.replace('gear: twin', 'enforce: 25%');
    expect(enforced(own)).toEqual([25, 25, undefined]);
    expect(enforced(`enforce: observe\n${own}`)).toEqual([25, 25, 0]);
  });

  it('tells every problem of a file at once', () => {
    expect(problems(one('    gear: triple\n    backends: [{ address: x, port: 1 }]'))).toHaveLength(
      2,
    );
  });

  it('refuses the same address for two services', () => {
    const two = good.replace('127.96.0.11', '127.96.0.10');
    expect(problems(two)).toEqual([
      'f.yaml:13:13: services[1].ports[0]: address 127.96.0.10:80 is given twice, first at services[0].ports[0]',
    ]);
  });

  it('refuses a file that nests too deeply, and survives it', () => {
    for (const [open, close] of [
      ['[', ']'],
      ['{a: ', '}'],
      ['- ', ''],
    ] as const) {
      const text = `services:\n  - ${open.repeat(30_000)}${close.repeat(30_000)}`;
      const parsed = parseServices(text, 'deep.yaml');
      expect(parsed.ok).toBe(false);
      if (!parsed.ok) {
        expect(parsed.problems).toMatchObject([
          { line: 2, message: 'lists and maps nest more than 16 deep' },
        ]);
      }
    }
  });
});
