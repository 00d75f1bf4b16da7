// How much of what is judged of a route is done: all of it, none, or for a part of the
// connects. Who says it nearest to the route is heard.
import { InputError } from '../errors.js';
import { namespaceOf } from './route-set.js';

export const enforceForm = 'expected full, observe or a percentage such as 25%';

const words: Readonly<Record<string, number>> = { full: 100, observe: 0 };

/** The percentage of a route's connects on which is acted; undefined for what says none. */
export function readEnforce(text: string): number | undefined {
  if (Object.hasOwn(words, text)) return words[text];
  const percent = /^(\d{1,3})%$/.exec(text)?.[1];
  return percent === undefined || Number(percent) > 100 ? undefined : Number(percent);
}

export function describeEnforce(percent: number): string {
  const word = Object.keys(words).find((name) => words[name] === percent);
  return word ?? `${percent}%`;
}

const namespaceName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** "shop=observe,batch=25%": of each namespace. Throws what is wrong about it, as the user wrote it. */
export function enforceByNamespace(text: string | undefined): ReadonlyMap<string, number> {
  const byNamespace = new Map<string, number>();
  for (const part of (text ?? '').split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const [namespace, value] = [part.slice(0, Math.max(0, equals)), part.slice(equals + 1)];
    const hint = 'Write it as in --enforce-namespaces shop=observe,batch=25%.';
    if (!namespaceName.test(namespace)) {
      throw new InputError(`--enforce-namespaces: ${part} names no namespace.`, hint);
    }
    const percent = readEnforce(value);
    if (percent === undefined) {
      throw new InputError(`--enforce-namespaces: ${namespace}: ${enforceForm}.`, hint);
    }
    if (byNamespace.has(namespace)) {
      throw new InputError(`--enforce-namespaces names ${namespace} twice.`, hint);
    }
    byNamespace.set(namespace, percent);
  }
  return byNamespace;
}

/** What holds of a route: its service's word, else its namespace's, else the node's. */
export function enforcedPercent(
  route: { readonly name: string; readonly enforcePercent?: number },
  byNamespace: ReadonlyMap<string, number>,
  node: number,
): number {
  return route.enforcePercent ?? byNamespace.get(namespaceOf(route.name)) ?? node;
}
