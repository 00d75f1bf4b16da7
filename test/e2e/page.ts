// A page of the documentation as a session in a shell: what stands after "$ " is typed, in
// the page's order. Beside the text a page may have, in comments that nobody sees,
//
//   <!-- run: COMMAND -->       typed too, at that place
//   <!-- file: NAME -->         the next block is the content of that file
//   <!-- not run: WHY -->       the next block is left out
//
// and a line "[exit N]" says how the command before it ends.

export interface Step {
  readonly command: string;
  readonly code: number;
  /** What must be in its output: heads of tables, and errors with what to do. */
  readonly shows: readonly string[];
}

export interface Page {
  readonly steps: readonly Step[];
  readonly files: Readonly<Record<string, string>>;
  /** Why blocks of commands are not run. */
  readonly leftOut: readonly string[];
}

const token = /^<!-- (run|file|not run): (.+?) -->$|^```[^\n]*\n([^]*?)^```$/gm;

/** Numbers differ from run to run, and so do the widths of columns. */
export function normal(line: string): string {
  return line
    .replaceAll(/\d+(\.\d+)?/g, '#')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

function isHead(line: string): boolean {
  return /^[A-Z][A-Z0-9]/.test(line) && !/[a-z]{3}/.test(line);
}

function stepsOf(block: string): Step[] {
  const steps: { command: string; code: number; shows: string[] }[] = [];
  for (const line of block.split('\n')) {
    const last = steps.at(-1);
    const [, exit] = /^\[exit (\d+)\]$/.exec(line) ?? [];
    if (line.startsWith('$ ')) steps.push({ command: line.slice(2), code: 0, shows: [] });
    else if (last !== undefined && exit !== undefined) last.code = Number(exit);
    else if (isHead(line) || /^(Error:|→) /.test(line)) last?.shows.push(line);
  }
  return steps;
}

export function readPage(text: string): Page {
  const steps: Step[] = [];
  const files: Record<string, string> = {};
  const leftOut: string[] = [];
  let file: string | undefined;
  let excuse: string | undefined;
  for (const [, what, said = '', block] of text.matchAll(token)) {
    if (what === 'run') steps.push({ command: said, code: 0, shows: [] });
    else if (what === 'file') file = said;
    else if (what === 'not run') excuse = said;
    else if (block !== undefined) {
      const typed = stepsOf(block);
      if (file !== undefined) files[file] = block;
      else if (excuse !== undefined) leftOut.push(excuse);
      else steps.push(...typed);
      file = excuse = undefined;
    }
  }
  return { steps, files, leftOut };
}
