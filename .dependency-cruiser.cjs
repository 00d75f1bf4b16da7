// The walls of the house, as far as imports show them. What imports cannot show
// (paths under /proc, printing, clocks) is in eslint.config.js.

/** A wall: `from` may not import `to`. */
const wall = (name, comment, from, to) => ({ name, severity: 'error', comment, from, to });

const only = (room, name) =>
  wall(
    `only-${room}-knows-${name.replaceAll(/[^a-z0-9]+/g, '-').replace(/^-/, '')}`,
    `Only src/lib/${room} may import ${name}: ask it for what you need.`,
    { path: '^src/', pathNot: `^src/lib/${room}/` },
    { path: `(^|node_modules/)${name}(/|$)` },
  );

module.exports = {
  forbidden: [
    wall('no-circular', 'Move what both need into a third file.', {}, { circular: true }),
    wall(
      'lib-not-commands',
      'Commands are thin: they import lib, lib never imports them.',
      { path: '^src/lib/' },
      { path: '^src/commands/' },
    ),
    wall(
      'field-is-pure',
      'field imports only itself, config and types: hand the rest in as arguments.',
      { path: '^src/lib/field/' },
      { pathNot: '^src/lib/(field|config|routes)/' },
    ),
    wall(
      'field-takes-only-types-of-routes',
      'field may name the types of routes, never run its code: use `import type`.',
      { path: '^src/lib/field/' },
      { path: '^src/lib/routes/', dependencyTypesNot: ['type-only'] },
    ),
    wall(
      'only-dataplane-touches-the-addon',
      'Ask another file of src/lib/dataplane; native.ts is for that room alone.',
      { path: '^src/', pathNot: '^src/lib/dataplane/' },
      { path: '^src/lib/dataplane/native\\.ts$', dependencyTypesNot: ['type-only'] },
    ),
    only('kubernetes', '@kubernetes/client-node'),
    only('audit', 'prom-client'),
    wall(
      'src-not-tests',
      'What the product needs lives in src.',
      { path: '^src/' },
      { path: '^(test|bench|scripts)/' },
    ),
    wall(
      'no-dev-dependencies',
      'An installed nity has no devDependencies: move the package to dependencies.',
      { path: '^src/' },
      {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        dependencyTypesNot: ['type-only'],
      },
    ),
    wall('no-unresolvable', 'The file or package does not exist.', {}, { couldNotResolve: true }),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    // Type-only imports count as imports unless a wall says otherwise.
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types'],
    },
  },
};
