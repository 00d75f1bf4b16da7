// Completion for bash 4 and newer: words and values of flags from the catalogue, files for
// all else.
import { firstWords, type CommandInfo } from '../catalogue.js';

export function bashCompletion(commands: readonly CommandInfo[]): string {
  const words = firstWords(commands);
  const topics = [...words].filter(([, { views }]) => views.length > 0);
  return `# bash completion for nity: source <(nity completion bash)
_nity() {
	local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} words=
	local command=\${COMP_WORDS[1]}
	COMPREPLY=()
	# --flag=value comes as three words.
	if [[ $cur == '=' ]]; then cur=; fi
	if [[ $prev == '=' ]]; then prev=\${COMP_WORDS[COMP_CWORD - 2]}; fi
	if ((COMP_CWORD == 1)); then
		words='${[...words.keys(), 'help', '--help', '--version'].join(' ')}'
	else
		case $command in
${topics.map(([topic, { views }]) => topicCase(topic, views)).join('\n')}
		esac
		case $command in
${commands.map(commandCase).join('\n')}
		help) if ((COMP_CWORD == 2)); then words='${[...words.keys()].join(' ')}'; fi ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _nity nity
`;
}

/** A view takes the place of its topic; before it is typed, the views are what there is. */
function topicCase(topic: string, views: readonly CommandInfo[]): string {
  const names = views.map(({ words: [, view = ''] }) => view);
  return `		${topic})
			case \${COMP_WORDS[2]} in
			${names.join(' | ')}) if ((COMP_CWORD > 2)); then command+=" \${COMP_WORDS[2]}"; fi ;;
			esac
			if ((COMP_CWORD == 2)); then words='${names.join(' ')}'; fi
			;;`;
}

function commandCase({ words, flags, args }: CommandInfo): string {
  const closed = flags.filter(({ takesValue, options }) => takesValue && options.length > 0);
  const open = flags.filter(({ takesValue, options }) => takesValue && options.length === 0);
  const spell = ({ name, char }: { name: string; char: string | null }) =>
    char === null ? `--${name}` : `--${name} | -${char}`;
  const values = args.flatMap(({ options }) => options).join(' ');
  const cases = [
    ...closed.map((flag) => `			${spell(flag)}) words='${flag.options.join(' ')}' ;;`),
    ...(open.length === 0 ? [] : [`			${open.map(spell).join(' | ')}) return ;;`]),
    `			*) if [[ $cur == -* ]]; then words='${[...flags.map(({ name }) => `--${name}`), '--help'].join(' ')}'; else words+='${values === '' ? '' : ` ${values}`}'; fi ;;`,
  ];
  return `		'${words.join(' ')}')
			case $prev in
${cases.join('\n')}
			esac
			;;`;
}
