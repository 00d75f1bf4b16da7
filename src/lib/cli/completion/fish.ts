// Completion for fish 3 and newer, with what each word is for.
import { firstWords, type CommandInfo, type FlagInfo } from '../catalogue.js';

export function fishCompletion(commands: readonly CommandInfo[]): string {
  const first = [...firstWords(commands)];
  const lines = first.flatMap(([word, { summary, views }]) => [
    offer('__nity_bare', word, summary),
    ...views.map(({ words: [, view = ''], summary: about }) =>
      offer(`__nity_only ${word}`, view, about),
    ),
  ]);
  return `# fish completion for nity: nity completion fish | source
function __nity_bare
    test (count (commandline -opc)) -eq 1
end
function __nity_only
    set -l words (commandline -opc)
    test "$words[2..-1]" = "$argv"
end
function __nity_in
    set -l words (commandline -opc)
    set -l last (math 1 + (count $argv))
    test (count $words) -ge $last; or return 1
    test "$words[2..$last]" = "$argv"
end
complete -c nity -n __nity_bare -f
${[...lines, offer('__nity_bare', 'help', 'Help for a command.'), ...commands.flatMap(commandLines)].join('\n')}
`;
}

function offer(when: string, word: string, summary: string): string {
  return `complete -c nity -n ${quoted(when)} -f -a ${quoted(word)} -d ${quoted(summary)}`;
}

function commandLines({ words, flags, args }: CommandInfo): string[] {
  const within = `__nity_in ${words.join(' ')}`;
  const values = args.flatMap(({ options }) => options).join(' ');
  return [
    ...(values === '' ? [] : [offer(within, values, args[0]?.summary ?? '')]),
    ...flags.map((flag) => `complete -c nity -n ${quoted(within)} ${flagWords(flag)}`),
  ];
}

function flagWords({ name, char, summary, takesValue, options }: FlagInfo): string {
  return [
    `-l ${name}`,
    ...(char === null ? [] : [`-s ${char}`]),
    ...(takesValue ? [options.length === 0 ? '-r' : `-x -a ${quoted(options.join(' '))}`] : []),
    `-d ${quoted(summary)}`,
  ].join(' ');
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`;
}
