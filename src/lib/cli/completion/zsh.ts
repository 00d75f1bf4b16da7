// Completion for zsh, with what each word is for.
import { firstWords, type ArgInfo, type CommandInfo, type FlagInfo } from '../catalogue.js';

export function zshCompletion(commands: readonly CommandInfo[]): string {
  const words = firstWords(commands);
  const named = [...words].map(([word, { summary }]) => described(word, summary));
  const topics = [...words].filter(([, { views }]) => views.length > 0);
  return `#compdef nity
# zsh completion for nity: source <(nity completion zsh)
_nity() {
  local -a choices
  if ((CURRENT == 2)); then
    choices=(
${indented([...named, described('help', 'Help for a command.')], 6)}
    )
    _describe command choices
    return
  fi
  shift words
  ((CURRENT--))
  local command=$words[1]
  case $command in
${topics.map(([topic, { views }]) => topicCase(topic, views)).join('\n')}
  esac
  case $command in
${commands.map(commandCase).join('\n')}
  esac
}
if [[ $funcstack[1] == _nity ]]; then
  _nity "$@"
else
  compdef _nity nity
fi
`;
}

function topicCase(topic: string, views: readonly CommandInfo[]): string {
  const names = views.map(({ words: [, view = ''] }) => view);
  return `    ${topic})
      if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
        choices=(
${indented(
  views.map(({ words: [, view = ''], summary }) => described(view, summary)),
  10,
)}
        )
        _describe view choices
        return
      fi
      case $words[2] in
        ${names.join('|')})
          command+=" $words[2]"
          shift words
          ((CURRENT--))
          ;;
      esac
      ;;`;
}

function commandCase({ words, flags, args }: CommandInfo): string {
  const specs = [
    ...flags.flatMap(flagSpecs),
    quoted('--help[show help]'),
    ...args.map((arg, i) => quoted(argSpec(arg, i + 1))),
  ];
  return `    '${words.join(' ')}')
      _arguments -s \\
${specs.map((spec) => `        ${spec}`).join(' \\\n')}
      ;;`;
}

function flagSpecs(flag: FlagInfo): string[] {
  const { name, char, summary, takesValue, options, multiple } = flag;
  const value = takesValue ? `:${name}:${valuesOf(options)}` : '';
  const spellings = [`--${name}${takesValue ? '=' : ''}`, ...(char === null ? [] : [`-${char}`])];
  return spellings.map((spelling) =>
    quoted(`${multiple ? '*' : ''}${spelling}[${plain(summary)}]${value}`),
  );
}

function argSpec({ name, options }: ArgInfo, at: number): string {
  return `${at}:${name}:${valuesOf(options)}`;
}

function valuesOf(options: readonly string[]): string {
  return options.length === 0 ? '_files' : `(${options.join(' ')})`;
}

function described(word: string, summary: string): string {
  return quoted(`${word}:${summary}`);
}

function plain(summary: string): string {
  return summary.replaceAll(/[[\]\\]/g, '').replaceAll(':', '\\:');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function indented(lines: readonly string[], by: number): string {
  return lines.map((line) => `${' '.repeat(by)}${line}`).join('\n');
}
