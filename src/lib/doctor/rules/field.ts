// Is the field one that decisions can go by, and is it the agent's own?
import { boundedTables } from '../../dataplane/table-use.js';
import type { RouteFault } from '../../dataplane/field-faults.js';
import { count, fail, ok, some, warn, type Rule } from '../check.js';
import type { Observed, Plane, RouteSeen } from '../observed.js';
import { describeEnforce } from '../../routes/enforce.js';
import { planeOf } from './agent.js';

const nearlyFull = 0.9;
/** The law itself isolates no more; so many ask for a look. */
const manyIsolated = 0.3;

function slots(faults: readonly RouteFault[]): string {
  const total = faults.reduce((sum, fault) => sum + fault.count, 0);
  return `${count(total, 'slot')} of ${some(faults.map(({ route }) => route))}`;
}

function minutes(ms: number): string {
  return ms < 120_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.ceil(ms / 60_000)} min`;
}

function onRoutes(
  test: (route: RouteSeen) => boolean,
): (observed: Observed) => { plane: Plane; found: string[] } | null {
  return (observed) => {
    const plane = planeOf(observed);
    if (plane === null || plane.routes.length === 0) return null;
    return { plane, found: plane.routes.filter(test).map(({ name }) => name) };
  };
}

const withoutBackends = onRoutes(({ backends }) => backends === 0);
const withoutAddress = onRoutes(({ addresses }) => addresses === 0);

export const fieldRules: readonly Rule[] = [
  {
    id: 'NITY070',
    group: 'field',
    name: 'tables',
    expected: 'the epochs in force name complete tables',
    hint: 'Restart the agent: it writes both tables anew.',
    about:
      'While a table is incomplete decisions go to the fallback set, or are refused as incomplete.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null || plane.field.heartbeatAgeMs === null) return null;
      const { epoch, heldEpoch, tableEpochs } = plane.field;
      const complete = (of: bigint) => tableEpochs[Number(of & 1n)] === of;
      if (!complete(epoch)) return fail(`epoch ${epoch} does not`);
      // The held table may be in rewriting while the agent is alive; then it is not gone by.
      if (plane.field.failsafeMode !== 'normal' && !complete(heldEpoch)) {
        return fail(`held epoch ${heldEpoch} does not`);
      }
      return ok(`epoch ${epoch}, table ${plane.field.activeTable}`);
    },
  },
  {
    id: 'NITY071',
    group: 'field',
    name: 'slots of backends that left',
    expected: 'none',
    hint: 'Start the agent, or end the hold: its next projection takes them away.',
    about:
      'A slot that names a backend which has left sends connects to it, or costs a second draw.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { retired } = plane.faults;
      return retired.length === 0 ? ok('none') : fail(slots(retired));
    },
  },
  {
    id: 'NITY072',
    group: 'field',
    name: 'slots astray',
    expected: 'each names a backend of its own route',
    hint: 'Restart the agent: it writes both tables anew. Then see who else writes these maps.',
    about:
      'A slot that names nobody or another route’s backend is never gone by, nor an address of a route that is gone: the connect is refused as a breach of the boundary.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { astray, ranges, addresses } = plane.faults;
      if (addresses.length > 0) return fail(`${some(addresses)} lead to a route that is gone`);
      if (ranges.length > 0) return fail(`the ranges of ${some(ranges)} are unsound`);
      return astray.length === 0 ? ok('none') : fail(slots(astray));
    },
  },
  {
    id: 'NITY073',
    group: 'field',
    name: 'fallback set',
    expected: 'names backends for each route that has some',
    hint: 'Restart the agent: it writes the set anew.',
    about:
      'It is what decisions go by when the agent is gone for long: without it they are refused.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { fallbacks } = plane.faults;
      return fallbacks.length === 0 ? ok('each has one') : fail(`none for ${some(fallbacks)}`);
    },
  },
  {
    id: 'NITY074',
    group: 'field',
    name: 'books',
    expected: 'each backend’s count of slots is what the table says',
    hint: 'Restart the agent: it counts anew.',
    about:
      'The second choice weighs a backend’s load by this count: a wrong one sends traffic to the wrong backend.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { miscounted } = plane.faults;
      return miscounted === 0 ? ok('they agree') : warn(`${count(miscounted, 'backend')} differ`);
    },
  },
  {
    id: 'NITY075',
    group: 'field',
    name: 'routes without backends',
    expected: 'none',
    hint: 'Give them backends, or take them out of the services.',
    about: 'Connects to such a route are refused at once.',
    look: (observed) => {
      const seen = withoutBackends(observed);
      if (seen === null) return null;
      if (seen.found.length === 0) return ok('none');
      // In a cluster that is every day's: scaled to none, or policy Local and none on this node.
      return seen.plane.agent.cluster === null
        ? fail(some(seen.found))
        : warn(some(seen.found), 'See whether their Services ought to have ready endpoints here.');
    },
  },
  {
    id: 'NITY076',
    group: 'field',
    name: 'routes without an address',
    expected: 'none',
    hint: 'Restart the agent: it writes the addresses anew.',
    about: 'A route without an address has slots and backends, and nobody can dial it.',
    look: (observed) => {
      const seen = withoutAddress(observed);
      if (seen === null) return null;
      return seen.found.length === 0 ? ok('none') : warn(some(seen.found));
    },
  },
  {
    id: 'NITY077',
    group: 'field',
    name: 'overrides',
    expected: 'none',
    hint: 'End them with `nity set-mode auto`, if they are not meant; the audit log says whose they are.',
    about: 'An override stands above what the agent finds right, until its time is over.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const found = plane.routes.flatMap(({ name, override }) =>
        override === null ? [] : [`${name} ${override.mode} for ${minutes(override.remainingMs)}`],
      );
      return found.length === 0 ? ok('none') : warn(some(found));
    },
  },
  {
    id: 'NITY078',
    group: 'field',
    name: 'held projection',
    expected: 'the agent may project',
    hint: 'Wait, or flip again with a short `--hold`, if the hold is not meant.',
    about:
      'After an operator’s flip the field stays as it is for the time of the hold: new backends get no slots.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { projectionHeldMs } = plane.field;
      return projectionHeldMs === 0
        ? ok('not held')
        : warn(`held for ${minutes(projectionHeldMs)}`);
    },
  },
  {
    id: 'NITY079',
    group: 'field',
    name: 'room',
    expected: 'every table less than 90 % full',
    hint: 'Load with larger tables: `nity unload`, then `nity load --max-…` (see its help).',
    about: 'What does not fit is refused whole: the last good services stay in force.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const filled = boundedTables
        .map((table) => ({ table, ...plane.use[table] }))
        .sort((a, b) => b.used / b.capacity - a.used / a.capacity);
      const told = filled.map(({ table, used, capacity }) => `${table} ${used} of ${capacity}`);
      const full = filled.filter(({ used, capacity }) => used / capacity >= nearlyFull).length;
      return full === 0
        ? ok(`${told[0] ?? ''} is the fullest`)
        : warn(told.slice(0, full).join(', '));
    },
  },
  {
    id: 'NITY080',
    group: 'field',
    name: 'isolated backends',
    expected: 'fewer than 30 % of a route’s',
    hint: 'Look at them with `nity inspect backends`, and why with `nity explain ROUTE`.',
    about: 'The more backends are isolated the less is left to take their traffic over.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null || plane.routes.length === 0) return null;
      const many = plane.routes
        .filter(({ backends, isolated }) => backends > 0 && isolated / backends >= manyIsolated)
        .map(({ name, backends, isolated }) => `${name} ${isolated} of ${backends}`);
      const isolated = plane.routes.reduce((sum, route) => sum + route.isolated, 0);
      return many.length === 0 ? ok(isolated === 0 ? 'none' : `${isolated}`) : warn(some(many));
    },
  },
  {
    id: 'NITY081',
    group: 'field',
    name: 'decisions',
    expected: 'none refused because of the tables',
    hint: 'Look at `nity inspect counters` again: if it grows, restart the agent and see who else writes these maps.',
    about:
      'Refused as incomplete: a table named nobody. Refused at the boundary: it named somebody else’s backend.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null) return null;
      const { refusedIncomplete, refusedBoundary } = plane.counters;
      if (refusedIncomplete + refusedBoundary === 0n) return ok('none');
      return warn(`${refusedIncomplete} incomplete, ${refusedBoundary} at the boundary`);
    },
  },
  {
    id: 'NITY082',
    group: 'field',
    name: 'observed routes',
    expected: 'named, where not all is enforced',
    hint: 'See what would be done with `nity explain ROUTE`; enforce it with `enforce: full`.',
    about:
      'What Nity judges of their backends is not acted upon, or only for a part of the connects: somebody wants it so. It is never a warning.',
    look: (observed) => {
      const plane = planeOf(observed);
      if (plane === null || plane.routes.length === 0) return null;
      const found = plane.routes
        .filter(({ enforcedPercent }) => enforcedPercent < 100)
        .map(({ name, enforcedPercent }) => `${name} ${describeEnforce(enforcedPercent)}`);
      return ok(found.length === 0 ? 'none: all is enforced' : some(found));
    },
  },
];
