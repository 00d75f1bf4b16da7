// A file of knobs as text with places: which names it sets, to what, and where each stands.
// It knows YAML but not the knobs.
import { readFileSync } from 'node:fs';
import {
  CST,
  isAlias,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseDocument,
  Parser,
  type Document,
} from 'yaml';

import { InputError, messageOf } from '../errors.js';

export interface FileEntry {
  readonly name: string;
  /** FILE:LINE:COLUMN, from 1. */
  readonly nameAt: string;
  readonly value: unknown;
  readonly valueAt: string;
}

/** Several times what all knobs with a comment each take; a wrong path is told, not parsed. */
const mostCharacters = 32_768;
const mostShown = 60;
const aMap = 'expected a map from knob to value';

/** Refuses what is no flat map of different names. */
export function readKnobsFile(path: string): FileEntry[] {
  const text = read(path);
  const lines = new LineCounter();
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${Math.max(1, line)}:${Math.max(1, col)}`;
  };
  const nested = firstNested(text, lines);
  if (nested !== undefined) throw refusal(at(nested.offset), nested.what);
  // The check for keys given twice is ours, to tell where the first stands.
  const document = parseDocument(text, { prettyErrors: false, uniqueKeys: false });
  const [broken] = document.errors;
  if (broken !== undefined) {
    // The parser's own words for several documents are advice to a programmer.
    const several = broken.code === 'MULTIPLE_DOCS';
    throw refusal(at(broken.pos[0]), several ? 'expected one document only' : broken.message);
  }
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  if (!isMap(contents)) throw refusal(at(start(contents) ?? 0), aMap);
  const seen = new Map<string, string>();
  return contents.items.map(({ key, value }) => {
    const name = String(isScalar(key) ? key.value : key);
    const nameAt = at(start(key) ?? 0);
    const first = seen.get(name);
    if (first !== undefined) {
      throw refusal(nameAt, `${clipped(name)} is set twice, first at ${first}`);
    }
    seen.set(name, nameAt);
    return {
      name,
      nameAt,
      value: plainValue(value, document),
      valueAt: at(start(value) ?? start(key) ?? 0),
    };
  });
}

/** What was given, as a message repeats it: short, and on one line. */
export function clipped(text: string): string {
  const line = text.replaceAll(/\p{Cc}/gu, ' ');
  return line.length > mostShown ? `${line.slice(0, mostShown)}…` : line;
}

/** A value as a message names it. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return typeof value === 'string' ? `"${clipped(value)}"` : 'something else';
}

function read(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(
      `The knobs file ${path} cannot be read: ${messageOf(error)}.`,
      'Name a readable file with --config.',
      error,
    );
  }
  if (text.length <= mostCharacters) return text;
  throw new InputError(
    `The knobs file ${path} has more than ${mostCharacters} characters.`,
    'Name a YAML file of knobs with --config.',
  );
}

function start(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

/**
 * The first list or map where one number should stand. Looked for among the parser's tokens,
 * which are made without recursion: composing a file of thousands of brackets into a document
 * exhausts the stack, and the process with it.
 */
function firstNested(
  text: string,
  lines: LineCounter,
): { readonly offset: number; readonly what: string } | undefined {
  for (const token of new Parser(lines.addNewLine).parse(text)) {
    if (token.type !== 'document' || !CST.isCollection(token.value)) continue;
    const { value: top } = token;
    const isList =
      top.type === 'block-seq' || (top.type !== 'block-map' && top.start.source === '[');
    if (isList) return { offset: top.offset, what: aMap };
    for (const { key, value } of top.items) {
      const deep = [key, value].find((part) => CST.isCollection(part));
      if (!CST.isCollection(deep)) continue;
      const name = key !== null && CST.isScalar(key) ? clipped(key.source) : 'a knob';
      return { offset: deep.offset, what: `${name} must be a number, not a list or a map` };
    }
  }
  return undefined;
}

function plainValue(value: unknown, document: Document): unknown {
  const node = isAlias(value) ? value.resolve(document) : value;
  return isScalar(node) ? node.value : undefined;
}

function refusal(where: string, what: string): InputError {
  return new InputError(`${where}: ${what}.`, 'Correct the file; nothing was changed.');
}
