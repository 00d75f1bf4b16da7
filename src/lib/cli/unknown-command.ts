// What is typed and is no command, or a command and a word too many: one sentence of what
// happened, one of what was meant.
import { UsageError } from '../errors.js';
import { nearest } from '../nearest.js';

interface Known {
  readonly id: string;
  readonly hidden?: boolean;
  readonly flags: Readonly<Record<string, unknown>>;
}

/** oclif says it in one way where a command runs and in another where help is asked for. */
export function isUnknownCommand(error: unknown): boolean {
  return error instanceof Error && /^command \S+ not found\.?$/i.test(error.message);
}

export function unknownCommand(argv: readonly string[], known: readonly Known[]): UsageError {
  const asked = argv[0] === 'help' ? argv.slice(1) : argv;
  const end = asked.findIndex((word) => word.startsWith('-'));
  const typed = end > 0 ? asked.slice(0, end) : asked;
  const commands = new Map(
    known
      .filter(({ hidden }) => hidden !== true)
      .map((command) => [command.id.replaceAll(':', ' '), command]),
  );
  const meant = nearestCommand(typed, [...commands.keys()]);
  const words = meant?.split(' ') ?? [];
  const extra = typed[words.length];
  if (meant !== undefined && extra !== undefined && words.every((word, i) => word === typed[i])) {
    const route =
      'route' in (commands.get(meant)?.flags ?? {}) ? 'Name a route with --route. ' : '';
    return new UsageError(
      `nity ${meant} takes no argument ${extra}.`,
      `${route}Run it with --help to see what it takes.`,
    );
  }
  const suggestion = meant === undefined ? '' : `Did you mean \`nity ${meant}\`? `;
  return new UsageError(
    `nity ${typed.join(' ')} is not a command.`,
    `${suggestion}\`nity --help\` lists them all.`,
  );
}

/** `typed` may go on with arguments; a view's own name is enough to find it. */
function nearestCommand(typed: readonly string[], commands: readonly string[]): string | undefined {
  const [first = '', second] = typed;
  const view = commands.find((command) => command.split(' ')[1] === first);
  if (view !== undefined) return view;
  const pair = second === undefined ? undefined : nearest(`${first} ${second}`, commands);
  return pair ?? nearest(first, [...new Set(commands.map((name) => name.split(' ')[0] ?? name))]);
}
