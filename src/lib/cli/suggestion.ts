// "Did you mean": the nearest of what there is to what was typed, or nothing where the
// nearest is another word altogether.
import { distance } from 'fastest-levenshtein';

export function nearest(typed: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((word) => ({ word, away: distance(typed.toLowerCase(), word.toLowerCase()) }))
    .filter(({ word, away }) => away <= Math.max(1, Math.floor(word.length / 3)))
    .sort((a, b) => a.away - b.away);
  return best?.word;
}

/** `typed` may go on with arguments; a view's own name is enough to find it. */
export function nearestCommand(
  typed: readonly string[],
  commands: readonly string[],
): string | undefined {
  const [first = '', second] = typed;
  const view = commands.find((command) => command.split(' ')[1] === first);
  if (view !== undefined) return view;
  const pair = second === undefined ? undefined : nearest(`${first} ${second}`, commands);
  return pair ?? nearest(first, [...new Set(commands.map((name) => name.split(' ')[0] ?? name))]);
}
