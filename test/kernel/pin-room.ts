// A place for the pins of one test. Loads below one directory take turns, and give up after
// some seconds: in a directory of its own a test waits for nobody else's.
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { removeTree } from '../../src/lib/dataplane/staging.js';
import { unload } from '../../src/lib/dataplane/unload.js';

export class PinRoom {
  private readonly directory: string;
  readonly pinPath: string;

  constructor(name: string) {
    this.directory = join('/sys/fs/bpf', name);
    this.pinPath = join(this.directory, 'nity');
  }

  open(): void {
    mkdirSync(this.directory, { mode: 0o700 });
  }

  /** Nothing stays loaded, whatever a test that failed left here. */
  clear(): void {
    if (existsSync(this.pinPath)) unload({ pinPath: this.pinPath, force: true });
  }

  close(): void {
    if (!existsSync(this.directory)) return;
    this.clear();
    removeTree(this.directory);
  }
}
