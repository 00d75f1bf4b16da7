// Can the node be felt, and does it have room?
import { exhaustibles, stallResources } from '../../field/signals.js';
import { ok, some, warn, type Rule } from '../check.js';

const nearlyFull = 0.8;

export const sensorRules: readonly Rule[] = [
  {
    id: 'NITY090',
    group: 'sensors',
    name: 'PSI',
    expected: 'stalls of cpu, memory and io can be read',
    hint: 'Boot with psi=1, on a kernel with CONFIG_PSI.',
    about: 'Without it a node that stalls goes on admitting what it cannot serve.',
    look: ({ sensors: { stalls } }) => {
      const missing = stallResources.flatMap((resource) => {
        const seen = stalls[resource];
        return seen.kind === 'missing' ? [`${resource}: ${seen.why}`] : [];
      });
      return missing.length === 0 ? ok('readable') : warn(some(missing));
    },
  },
  {
    id: 'NITY091',
    group: 'sensors',
    name: 'resources',
    expected: 'what the node can run out of can be read',
    hint: 'Nothing, where the node has no such thing (connection tracking that is not loaded).',
    about: 'What cannot be read does not close the valve before it runs out.',
    look: ({ sensors: { usage } }) => {
      const missing = exhaustibles.flatMap((resource) => {
        const seen = usage[resource];
        return seen.kind === 'missing' ? [`${resource}: ${seen.why}`] : [];
      });
      // Connection tracking is a module: a node without it cannot run out of it.
      const grave = missing.filter((text) => !text.includes('is not loaded'));
      if (grave.length > 0) return warn(some(grave));
      return ok(missing.length === 0 ? 'readable' : some(missing));
    },
  },
  {
    id: 'NITY092',
    group: 'sensors',
    name: 'room on the node',
    expected: 'no resource more than 80 % used',
    hint: 'Find out who uses it up; for conntrack raise net.netfilter.nf_conntrack_max.',
    about:
      'As it runs out the valve closes: soft when it lasts two minutes more, hard at twenty seconds.',
    look: ({ sensors: { usage } }) => {
      const shares = exhaustibles
        .flatMap((resource) => {
          const seen = usage[resource];
          if (seen.kind === 'missing') return [];
          return [{ resource, share: seen.value.used / seen.value.limit }];
        })
        .sort((a, b) => b.share - a.share);
      const told = shares.map(({ resource, share }) => `${resource} ${Math.round(share * 100)} %`);
      const full = shares.filter(({ share }) => share > nearlyFull).length;
      return full === 0
        ? ok(`${told[0] ?? 'nothing'} is the fullest`)
        : warn(some(told.slice(0, full)));
    },
  },
];
