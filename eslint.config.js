// Types are linted strictly. Below that: the walls of the house that imports do
// not show. dependency-cruiser holds the others.
import eslint from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const at = (selector, message) => ({ selector, message });

/** A string, or a template's text, that matches. */
const text = (pattern, message) => [
  at(`Literal[value=${pattern}]`, message),
  at(`TemplateElement[value.raw=${pattern}]`, message),
];

const noProcfs = text(
  String.raw`/^\/(proc|sys\/fs\/cgroup)(\/|$)/`,
  'Only sensors, doctor, dataplane/cgroup.ts and lacking.ts read /proc and cgroupfs.',
);
const noAddon = text(
  String.raw`/\.node$/`,
  'Only src/lib/dataplane/native.ts loads the addon, and build-addon.ts builds it.',
);

// What gives the same bits on every machine. exp, log, pow, sin and the rest may
// differ between builds of V8, and a replayed trace is compared bit for bit.
const exactMath = String.raw`/^(abs|ceil|clz32|floor|fround|imul|max|min|round|sign|sqrt|trunc|[A-Z0-9_]+)$/`;
const inexact = 'Not the same on every machine: field must replay bit for bit.';
const reproducible = [
  at(`MemberExpression[object.name='Math']:not([property.name=${exactMath}])`, inexact),
  at("MemberExpression[object.name='Math'][computed=true]", inexact),
  at("VariableDeclarator[init.name='Math']", inexact),
  at('BinaryExpression[operator="**"]', inexact),
  at('AssignmentExpression[operator="**="]', inexact),
  at('MemberExpression[property.name=/^(localeCompare|toLocale[A-Z].*)$/]', inexact),
  at('ForInStatement', 'Iterate in a defined order: an array, a Map or Object.entries.'),
];
const effects = [
  ...['Date', 'performance', 'Intl', 'process', 'crypto', 'fetch', 'globalThis'],
  ...['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'],
].map((name) => ({ name, message: 'field is pure: take it as an argument.' }));

const printing = 'Only src/lib/cli and src/commands print.';
const noStdout = { object: 'process', property: 'stdout', message: printing };
const noStderr = { object: 'process', property: 'stderr', message: printing };
const noProcessModule = ['error', { name: 'node:process', message: 'Use the global process.' }];

const mayReadProc = [
  ...['src/lib/sensors/**', 'src/lib/doctor/**'],
  ...['cgroup', 'lacking'].map((name) => `src/lib/dataplane/${name}.ts`),
];
const native = ['src/lib/dataplane/native.ts', 'src/lib/dataplane/build-addon.ts'];
const mayPrint = ['src/lib/cli/**', 'src/commands/**'];

export default defineConfig(
  { ignores: ['dist/', 'coverage/', 'bpf/build/', 'test/fixtures/'] },
  eslint.configs.recommended,
  {
    // Scripts are run by Node as they are; the names here are the globals they use.
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', URL: 'readonly', module: 'writable' },
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  // A rule's later options replace its earlier ones whole, so each block names all it forbids.
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-imports': noProcessModule,
      'no-restricted-properties': ['error', noStdout, noStderr],
      'no-restricted-syntax': ['error', ...noProcfs, ...noAddon],
    },
  },
  { files: mayReadProc, rules: { 'no-restricted-syntax': ['error', ...noAddon] } },
  { files: native, rules: { 'no-restricted-syntax': ['error', ...noProcfs] } },
  {
    files: ['src/lib/agent/**'],
    rules: { 'no-restricted-properties': ['error', noStdout] },
  },
  { files: mayPrint, rules: { 'no-console': 'off', 'no-restricted-properties': 'off' } },
  {
    files: ['src/lib/field/**'],
    rules: {
      'no-restricted-globals': ['error', ...effects],
      'no-restricted-syntax': ['error', ...noProcfs, ...noAddon, ...reproducible],
    },
  },
);
