// Who else is at the hooks? A program that runs first may translate a connect before
// Nity sees it, and one further down the tree runs before those above.
import type { Hook } from '../../dataplane/inspection.js';
import { fail, ok, some, warn, type Rule } from '../check.js';
import type { Observed } from '../observed.js';

interface AtHook {
  readonly hook: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** Who runs before and after our own; null where we have none, which others say. */
function around({ program, order }: Hook, own: ReadonlySet<number>): AtHook | null {
  const ours = order.findIndex(({ id }) => own.has(id));
  if (ours < 0) return null;
  const names = (of: Hook['order']) => of.filter(({ id }) => !own.has(id)).map(({ name }) => name);
  return { hook: program, before: names(order.slice(0, ours)), after: names(order.slice(ours)) };
}

function hooksOf({ hooks, pins }: Observed): readonly AtHook[] | null {
  if (hooks.kind === 'missing' || pins.kind === 'missing' || pins.value === null) return null;
  const own = new Set(pins.value.links.map(({ programId }) => programId));
  return hooks.value.flatMap((hook) => around(hook, own) ?? []);
}

const isNity = (name: string) => name.startsWith('nity_');
const translates = (hook: string) =>
  hook.startsWith('nity_connect') || hook.startsWith('nity_getpeername');

export const conflictRules: readonly Rule[] = [
  {
    id: 'NITY095',
    group: 'conflicts',
    name: 'first on the hook',
    expected: 'no other program translates a connect before Nity',
    hint: 'Detach it, or attach it after: `nity unload`, `nity load` puts Nity behind, so move the other. Cilium: kubeProxyReplacement or socketLB off.',
    about:
      'A program that runs first and rewrites the address hides the service from Nity; its connects are not Nity’s.',
    look: (observed) => {
      const hooks = hooksOf(observed);
      if (hooks === null) return null;
      const first = hooks.flatMap(({ hook, before }) =>
        translates(hook)
          ? before.filter((name) => !isNity(name)).map((name) => `${name} before ${hook}`)
          : [],
      );
      return first.length === 0 ? ok('Nity is first') : fail(some(first));
    },
  },
  {
    id: 'NITY096',
    group: 'conflicts',
    name: 'others on the hooks',
    expected: 'none',
    hint: 'Find out what it does with `bpftool prog show`: it sees addresses as Nity left them.',
    about:
      'A program that runs after Nity sees backends, not services; one that refuses has the last word.',
    look: (observed) => {
      const hooks = hooksOf(observed);
      if (hooks === null) return null;
      const others = hooks.flatMap(({ hook, before, after }) =>
        [...after, ...(translates(hook) ? [] : before)]
          .filter((name) => !isNity(name))
          .map((name) => `${name} beside ${hook}`),
      );
      return others.length === 0 ? ok('none') : warn(some(others));
    },
  },
  {
    id: 'NITY097',
    group: 'conflicts',
    name: 'one dataplane',
    expected: 'no other Nity runs for the same sockets',
    hint: 'Find its pins (`ls /sys/fs/bpf`) and `nity unload --pin-path` them; a link without a pin goes with its holder (`bpftool link show`).',
    about:
      'The one that runs first translates, the other never sees the service: half of what is set has no effect.',
    look: (observed) => {
      const { hooks, pins, below } = observed;
      if (hooks.kind === 'missing' || pins.kind === 'missing') return null;
      const own = new Set((pins.value?.links ?? []).map(({ programId }) => programId));
      const others = hooks.value.flatMap(({ order }) =>
        order.filter(({ id, name }) => isNity(name) && !own.has(id)).map(({ name }) => name),
      );
      const beneath =
        below.kind === 'read'
          ? below.value
              .filter(({ program }) => isNity(program))
              .map(({ cgroup, program }) => `${program} at ${cgroup}`)
          : [];
      const found = [...others, ...beneath];
      if (found.length === 0) return ok('no other');
      // Perhaps it is the one that is meant, and the pin path is another.
      return own.size === 0 ? warn(some(found)) : fail(some(found));
    },
  },
  {
    id: 'NITY098',
    group: 'conflicts',
    name: 'programs below',
    expected: 'none at the connect hooks of cgroups below',
    hint: 'See whose they are: `bpftool cgroup tree`. They run before Nity for what is in those cgroups.',
    about: 'A program further down the tree runs before those above it, so it may translate first.',
    look: ({ below }) => {
      if (below.kind === 'missing') return null;
      const others = below.value
        .filter(({ program }) => !isNity(program))
        .map(({ cgroup, program }) => `${program} at ${cgroup}`);
      return others.length === 0 ? ok('none') : warn(some(others));
    },
  },
];
