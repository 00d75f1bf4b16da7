// The commands as the manifest has them: for whatever tells of them without running any.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface FlagInfo {
  readonly name: string;
  readonly char: string | null;
  readonly summary: string;
  readonly takesValue: boolean;
  /** The only values that it takes; empty where any will do. */
  readonly options: readonly string[];
  readonly multiple: boolean;
  readonly required: boolean;
  readonly default: string | null;
  readonly env: string | null;
  readonly isCommon: boolean;
}

export interface ArgInfo {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly string[];
  readonly required: boolean;
}

export interface CommandInfo {
  /** One word, or a topic and its view. */
  readonly words: readonly string[];
  readonly summary: string;
  readonly description: string;
  /** As they are typed. */
  readonly examples: readonly string[];
  readonly flags: readonly FlagInfo[];
  readonly args: readonly ArgInfo[];
}

export interface Catalogue {
  readonly version: string;
  /** By name, and a topic before its views. */
  readonly commands: readonly CommandInfo[];
}

interface ManifestFlag {
  readonly name: string;
  readonly type: 'boolean' | 'option';
  readonly char?: string;
  readonly summary?: string;
  readonly options?: readonly string[];
  readonly multiple?: boolean;
  readonly required?: boolean;
  readonly default?: unknown;
  readonly env?: string;
  readonly helpGroup?: string;
  readonly hidden?: boolean;
}

interface ManifestCommand {
  readonly id: string;
  readonly hidden?: boolean;
  readonly summary?: string;
  readonly description?: string;
  readonly examples?: readonly string[];
  readonly flags: Readonly<Record<string, ManifestFlag>>;
  readonly args: Readonly<Record<string, Omit<ManifestFlag, 'type'> & { description?: string }>>;
}

/** `root` is where the manifest of this nity lies. */
export function readCatalogue(root: string): Catalogue {
  const { version, commands } = JSON.parse(
    readFileSync(join(root, 'oclif.manifest.json'), 'utf8'),
  ) as { version: string; commands: Readonly<Record<string, ManifestCommand>> };
  return {
    version,
    commands: Object.values(commands)
      .filter(({ hidden }) => hidden !== true)
      .map(commandOf)
      .sort((a, b) => (a.words.join(' ') < b.words.join(' ') ? -1 : 1)),
  };
}

function commandOf(command: ManifestCommand): CommandInfo {
  const { id, summary = '', description = '', examples = [], flags, args } = command;
  const name = id.replaceAll(':', ' ');
  return {
    words: id.split(':'),
    summary,
    description,
    examples: examples.map((example) =>
      example.replaceAll('<%= config.bin %>', 'nity').replaceAll('<%= command.id %>', name),
    ),
    flags: Object.values(flags)
      .filter(({ hidden }) => hidden !== true)
      .map(flagOf),
    args: Object.values(args).map((arg) => ({
      name: arg.name,
      summary: arg.description ?? '',
      options: arg.options ?? [],
      required: arg.required === true,
    })),
  };
}

function flagOf(flag: ManifestFlag): FlagInfo {
  const { name, type, char, summary = '', options = [], multiple, required, env, helpGroup } = flag;
  const isPlain = typeof flag.default === 'string' || typeof flag.default === 'number';
  return {
    ...{ name, summary, options },
    char: char ?? null,
    takesValue: type === 'option',
    multiple: multiple === true,
    required: required === true,
    default: isPlain ? String(flag.default) : null,
    env: env ?? null,
    isCommon: helpGroup === 'COMMON',
  };
}

/** The first words, and for those that are topics the views below. */
export function firstWords(
  commands: readonly CommandInfo[],
): Map<string, { readonly summary: string; readonly views: readonly CommandInfo[] }> {
  const words = new Map<string, { summary: string; views: CommandInfo[] }>();
  for (const command of commands) {
    const [first = '', view] = command.words;
    const known = words.get(first) ?? { summary: '', views: [] };
    words.set(first, known);
    if (view === undefined) known.summary = command.summary;
    else known.views.push(command);
  }
  for (const known of words.values()) {
    if (known.summary === '') {
      known.summary = `Views: ${known.views.map(({ words: [, view] }) => view).join(', ')}.`;
    }
  }
  return words;
}
