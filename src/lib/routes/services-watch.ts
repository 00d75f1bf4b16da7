// Watches a services file: a good change is passed on, a broken one is told and
// the last good one stays in force.
import { readFileSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';

import { InputError, messageOf } from '../errors.js';
import type { RouteSet } from './route-set.js';
import { describeProblem } from '../yaml-input.js';
import { parseServices } from './services-file.js';

/** Editors write a file in several steps; this long after the last, it is read. */
const settleMs = 50;
/** Some file systems tell nothing (NFS, some overlays), so it is also looked at. */
const pollMs = 2_000;

export interface ServicesListener {
  changed(routes: RouteSet): void;
  broken(problem: InputError): void;
}

/** Reads and checks the file now; throws with every problem told. */
export function readServices(path: string): RouteSet {
  return parse(read(path), path);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(
      `The services file ${path} cannot be read: ${messageOf(error)}.`,
      'Name a readable file with --services.',
      error,
    );
  }
}

function parse(text: string, path: string): RouteSet {
  const parsed = parseServices(text, path);
  if (parsed.ok) return parsed.routes;
  const [first] = parsed.problems;
  const more =
    parsed.problems.length > 1
      ? `\n${parsed.problems.slice(1).map(describeProblem).join('\n')}`
      : '';
  throw new InputError(
    `${first === undefined ? path : describeProblem(first)}${more}`,
    'Correct the file; nothing was changed. Its form is in docs/config/services.md.',
  );
}

export class ServicesWatch {
  private text: string;
  private timer: NodeJS.Timeout | undefined;
  private readonly poll: NodeJS.Timeout;
  private readonly watcher: FSWatcher;
  readonly routes: RouteSet;

  /** Throws if the file is not good to begin with. */
  constructor(
    private readonly path: string,
    private readonly listener: ServicesListener,
  ) {
    this.text = read(path);
    this.routes = parse(this.text, path);
    // The directory, not the file: an atomic rename replaces the file under the watch.
    this.watcher = watch(dirname(path), (_event, name) => {
      // A ConfigMap changes by a link beside the file ("..data"), not by the file's own name.
      if (name === null || name === basename(path) || name.startsWith('..')) this.settle();
    });
    this.watcher.on('error', () => {
      this.settle();
    });
    this.poll = setInterval(() => {
      this.look();
    }, pollMs);
    this.poll.unref();
  }

  private settle(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.look();
    }, settleMs);
  }

  private look(): void {
    try {
      const text = read(this.path);
      if (text === this.text) return;
      this.text = text;
      this.listener.changed(parse(text, this.path));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      // Told once: the text of a broken file is remembered, a missing file by its absence.
      const seen = error.message;
      if (seen !== this.lastProblem) this.listener.broken(error);
      this.lastProblem = seen;
      return;
    }
    this.lastProblem = undefined;
  }

  private lastProblem: string | undefined;

  close(): void {
    clearTimeout(this.timer);
    clearInterval(this.poll);
    this.watcher.close();
  }
}
