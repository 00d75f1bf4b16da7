// Random steps of a history, each as often as it is worth.
import fc from 'fast-check';

import { backendsMax, services, vips, type Step } from './history.js';

const service = fc.nat(services - 1);
const vip = fc.nat(vips - 1);
const backends = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 7 }) },
  { weight: 2, arbitrary: fc.nat(2 ** backendsMax - 1) },
);
const only = <S extends Step['do']>(name: S) => fc.constant(name);

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: only('scale'), service, backends }) },
  { weight: 2, arbitrary: fc.record({ do: only('remove'), service }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: only('move'), vip, to: fc.option(service, { freq: 5 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: only('swap'), a: vip, b: vip }) },
  { weight: 2, arbitrary: fc.record({ do: only('rename'), service, to: service }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: only('knobs'),
      service,
      gear: fc.constantFrom('auto' as const, 'single' as const, 'twin' as const),
      affine: fc.boolean(),
    }),
  },
  { weight: 7, arbitrary: fc.record({ do: only('serve') }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: only('part'), services: fc.nat(2 ** services - 1) }),
  },
  { weight: 8, arbitrary: fc.record({ do: only('tick'), times: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: only('busy') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: only('pass'),
      ms: fc.constantFrom(100, 1_000, 2_500, 5_000, 20_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: only('restart') }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: only('kill'), afterWrites: fc.nat(120) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: only('flip'),
      holdMs: fc.constantFrom(0, 500, 5_000),
      force: fc.boolean(),
    }),
  },
);
