// YAML files that people write: parsed once, checked against a schema, and every
// problem told with its place. What the file means, its reader says.
import { CST, isMap, LineCounter, parseDocument, Parser, type Document, type Node } from 'yaml';
import type { z } from 'zod';

import { messageOf } from './errors.js';

export interface Problem {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export type Path = readonly PropertyKey[];

export type YamlInput<T> =
  | { readonly ok: true; readonly value: T; readonly places: Places }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Reads one document. `file` is only named in problems; an empty file is an empty map. */
export function readYaml<T>(text: string, file: string, schema: z.ZodType<T>): YamlInput<T> {
  const lines = new LineCounter();
  const deep = tooDeep(text);
  if (deep !== undefined) {
    const before = text.slice(0, deep).split('\n');
    const column = (before.at(-1)?.length ?? 0) + 1;
    const message = `lists and maps nest more than ${deepest} deep`;
    return { ok: false, problems: [{ file, line: before.length, column, message }] };
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const places = new Places(document, lines, file);
  if (document.errors.length > 0) {
    return {
      ok: false,
      problems: document.errors.map(({ pos, message }) => places.at(pos[0], message)),
    };
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    return {
      ok: false,
      problems: [places.at(0, messageOf(error))],
    };
  }
  const parsed = schema.safeParse(value ?? {}, { reportInput: true });
  if (!parsed.success) return { ok: false, problems: schemaProblems(parsed.error, places) };
  return { ok: true, value: parsed.data, places };
}

export function describeProblem({ file, line, column, message }: Problem): string {
  return `${file}:${line}:${column}: ${message}`;
}

/** Finds the place of a path in the document: the node itself, or its nearest parent. */
export class Places {
  constructor(
    private readonly document: Document,
    private readonly lines: LineCounter,
    private readonly file: string,
  ) {}

  private offset(path: Path): number {
    for (let length = path.length; length >= 0; length--) {
      const node = this.document.getIn(path.slice(0, length), true) as Node | undefined;
      if (node?.range) return node.range[0];
    }
    return 0;
  }

  /** The key itself, for a key that should not be there. */
  key(path: Path, key: string, message: string): Problem {
    const parent = this.document.getIn(path, true);
    const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === key) : undefined;
    const at = (pair?.key as Node | undefined)?.range?.[0] ?? this.offset(path);
    return this.at(at, `${pathOf([...path, key])}: ${message}`);
  }

  problem(path: Path, message: string): Problem {
    const where = pathOf(path);
    return this.at(this.offset(path), where === '' ? message : `${where}: ${message}`);
  }

  at(offset: number, message: string): Problem {
    const { line, col } = this.lines.linePos(offset);
    return { file: this.file, line: Math.max(1, line), column: Math.max(1, col), message };
  }
}

/** services[0].ports[1].name */
export function pathOf(path: Path): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}

function schemaProblems(error: z.ZodError, places: Places): Problem[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => places.key(issue.path, key, 'unknown key'));
    }
    const missing = issue.code === 'invalid_type' && issue.input === undefined;
    return [places.problem(issue.path, missing ? 'is missing' : issue.message)];
  });
}

/** More than any of our files ever needs. */
const deepest = 16;

/**
 * Where lists and maps nest too deeply. Looked for among the parser's tokens, which are
 * made without recursion: composing thousands of brackets into a document exhausts the
 * stack, and would take a running agent with it.
 */
function tooDeep(text: string): number | undefined {
  const open = [...new Parser().parse(text)].flatMap((token) =>
    token.type === 'document' && token.value !== undefined
      ? [{ token: token.value, depth: 1 }]
      : [],
  );
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (!CST.isCollection(token)) continue;
    if (depth > deepest) return token.offset;
    for (const { key, value } of token.items) {
      for (const part of [key, value]) {
        if (part !== null && part !== undefined) open.push({ token: part, depth: depth + 1 });
      }
    }
  }
  return undefined;
}
