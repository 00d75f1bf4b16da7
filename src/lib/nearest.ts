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
