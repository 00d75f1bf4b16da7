// What `nity` alone says: every command under what it is for, and where to begin. Made of
// the manifest, without the framework, because it is the first thing that anybody waits for.
import { firstWords, readCatalogue, type CommandInfo } from './catalogue.js';
import { palette } from './colour.js';

/** In the order in which a new node meets them; what is in none of them comes last. */
const chapters: readonly (readonly [string, readonly string[]])[] = [
  ['Serve', ['load', 'run-agent', 'unload']],
  ['Look', ['top', 'inspect', 'explain', 'trace', 'doctor']],
  ['Change', ['flip', 'set-mode']],
  ['Prove', ['demo', 'simulate', 'replay']],
  ['This nity', ['config', 'version', 'bugreport', 'completion', 'build-addon', 'help']],
];
const narrowest = 60;
const widest = 100;
const margin = 14;

/** Whether a command line asks for no more than this page. */
export function asksForFrontPage(argv: readonly string[]): boolean {
  const [first, ...rest] = argv;
  return rest.length === 0 && (first === undefined || ['--help', '-h', 'help'].includes(first));
}

/** `columns` of the terminal; undefined where there is none. */
export function frontPage(root: string, columns: number | undefined): string {
  const { version, commands } = readCatalogue(root);
  const { bold, dim } = palette('stdout');
  const width = Math.min(Math.max(columns ?? widest, narrowest), widest);
  const entries = entriesOf(commands);
  const listed = new Set(chapters.flatMap(([, names]) => names));
  const others = [...entries.keys()].filter((name) => !listed.has(name)).sort();
  const sections = [...chapters, ['More', others] as const].flatMap(([title, names]) => {
    const present = names.filter((name) => entries.has(name));
    if (present.length === 0) return [];
    const lines = present.map((name) => entry(name, entries.get(name) ?? '', width));
    return [`${bold(title)}\n${lines.join('\n')}`];
  });
  return [
    `${bold(`nity ${version}`)} keeps service traffic flowing when backends degrade.`,
    `Usage: nity COMMAND [FLAGS]; ${dim('nity COMMAND --help')} has its flags and examples.`,
    ...sections,
    whereToBegin(),
  ].join('\n\n');
}

/** A topic and its views are one entry. */
function entriesOf(commands: readonly CommandInfo[]): Map<string, string> {
  const entries = new Map<string, string>([['help', 'Help for a command.']]);
  for (const [word, { summary, views }] of firstWords(commands)) {
    const isCommandToo = commands.some(({ words }) => words.length === 1 && words[0] === word);
    const also = views.map(({ words: [, view] }) => view).join(', ');
    entries.set(word, isCommandToo && also !== '' ? `${summary} Also: ${also}.` : summary);
  }
  return entries;
}

function entry(name: string, summary: string, width: number): string {
  const lines = wrapped(summary, width - margin - 2);
  return lines
    .map((line, i) => `  ${(i === 0 ? name : '').padEnd(margin)}${line}`.trimEnd())
    .join('\n');
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}

function whereToBegin(): string {
  if (process.getuid?.() === 0) {
    return 'Begin with `nity doctor`: is this node ready? `nity demo` shows the main job on it.';
  }
  return (
    'You are not root. Without it there are `nity demo --model`, `nity simulate` and `nity doctor`;\n' +
    'what touches the kernel wants `sudo nity COMMAND`.'
  );
}
