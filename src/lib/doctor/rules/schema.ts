// Do programs, maps and this build mean the same by the same words?
import { describeSchema, mapNames, mapsOf, schemaWord } from '../../dataplane/plane.js';
import { count, fail, ok, some, warn, type Rule } from '../check.js';
import type { Observed } from '../observed.js';

function pinsOf({ pins }: Observed) {
  return pins.kind === 'read' ? pins.value : null;
}

export const schemaRules: readonly Rule[] = [
  {
    id: 'NITY050',
    group: 'schema',
    name: 'maps pinned',
    expected: `all ${mapNames.length}`,
    hint: 'Run `nity unload --force`, then `nity load`: connects are the cluster’s in between.',
    about:
      'The programs keep a map that has lost its pin, but nobody else can reach it: no command, no new agent.',
    look: (observed) => {
      const pins = pinsOf(observed);
      if (pins === null) return null;
      const there = new Set(pins.maps.map(({ name }) => name));
      const { plane } = observed;
      // An older minor has fewer, and NITY051 says that it is older.
      const schema = plane.kind === 'read' ? (plane.value?.schema ?? schemaWord) : schemaWord;
      const missing = mapsOf(schema).filter((name) => !there.has(name));
      return missing.length === 0 ? ok(`${there.size} maps`) : fail(`${some(missing)} missing`);
    },
  },
  {
    id: 'NITY051',
    group: 'schema',
    name: 'schema',
    expected: describeSchema(schemaWord),
    hint: 'Upgrade in place with `nity load`; another major needs `nity unload` first.',
    about: 'Another major is refused by every reader; an older minor is read.',
    look: ({ plane, pins }) => {
      // Why the pins cannot be seen is said by NITY040.
      if (pins.kind === 'missing') return null;
      if (plane.kind === 'missing') {
        return fail(
          plane.why,
          'See what is pinned with `nity inspect maps` or `bpftool map show`.',
        );
      }
      if (plane.value === null) return null;
      const seen = describeSchema(plane.value.schema);
      return plane.value.schema === schemaWord ? ok(seen) : warn(seen);
    },
  },
  {
    id: 'NITY052',
    group: 'schema',
    name: 'layouts',
    expected: 'keys and values of the sizes that this build has',
    hint: 'Run `nity unload`, then `nity load`: connects are the cluster’s in between.',
    about:
      'Programs of this build cannot take over maps of another shape, so no upgrade in place is possible.',
    look: (observed) => {
      const pins = pinsOf(observed);
      const { build } = observed;
      if (pins === null || build.kind === 'missing') return null;
      const built = new Map(build.value.maps.map((map) => [map.name, map]));
      const other = pins.maps.filter(({ name, keySize, valueSize }) => {
        const map = built.get(name);
        return map?.keySize !== keySize || map.valueSize !== valueSize;
      });
      return other.length === 0 ? ok('as built') : fail(some(other.map(({ name }) => name)));
    },
  },
  {
    id: 'NITY053',
    group: 'schema',
    name: 'one set of maps',
    expected: 'the programs use the maps that are pinned',
    hint: 'Run `nity unload --force`, then `nity load`: connects are the cluster’s in between.',
    about: 'A program on other maps decides by a field that no agent writes and no command shows.',
    look: (observed) => {
      const pins = pinsOf(observed);
      if (pins === null || pins.maps.length === 0 || pins.links.length === 0) return null;
      const pinned = new Set(pins.maps.map(({ id }) => id));
      // Read-only data of the object is a map too, and has no pin; that none is shared is the sign.
      const apart = pins.links.filter(
        ({ running }) => running !== null && !running.mapIds.some((id) => pinned.has(id)),
      );
      if (pins.links.every(({ running }) => running === null)) return null;
      return apart.length === 0
        ? ok('the pinned ones')
        : fail(`${some(apart.map(({ program }) => program))} on others`);
    },
  },
  {
    id: 'NITY054',
    group: 'schema',
    name: 'pins of others',
    expected: 'none below the pin path',
    hint: 'Find out whose they are with `bpftool`, and move them: `nity unload` leaves them, and the directory.',
    about: 'What Nity did not pin it does not remove, so an unload does not come to its end.',
    look: (observed) => {
      const pins = pinsOf(observed);
      if (pins === null) return null;
      return pins.foreign.length === 0
        ? ok('none')
        : warn(`${count(pins.foreign.length, 'pin')}: ${some(pins.foreign)}`);
    },
  },
];
