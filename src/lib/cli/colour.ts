// Colour, decided once a stream: none when it is no terminal or NO_COLOR is set
// (no-color.org), unless --color says otherwise.
import { Chalk, type ChalkInstance } from 'chalk';

export type ColourChoice = 'auto' | 'always' | 'never';

let choice: ColourChoice = 'auto';

export function chooseColour(chosen: ColourChoice): void {
  choice = chosen;
}

function wanted(stream: 'stdout' | 'stderr'): boolean {
  if (choice !== 'auto') return choice === 'always';
  const noColor = process.env['NO_COLOR'];
  return (noColor === undefined || noColor === '') && process[stream].isTTY;
}

export function palette(stream: 'stdout' | 'stderr'): ChalkInstance {
  return new Chalk({ level: wanted(stream) ? 1 : 0 });
}
