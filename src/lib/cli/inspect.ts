// What the `inspect` commands share: a read-only plane, a view, and one way to
// print it once or again and again.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from '@oclif/core';

import { readField } from '../dataplane/control.js';
import { openPlane } from '../dataplane/pins.js';
import type { Plane } from '../dataplane/plane.js';
import { Snapshot } from '../dataplane/snapshot.js';
import { common, NityCommand, tableFlags, type Answer } from './command.js';
import { renderTable, type Column } from './table.js';

export const inspectFlags = { ...common, ...tableFlags };

interface InspectFlags {
  readonly 'pin-path': string;
  readonly 'no-headers': boolean;
  readonly output?: 'wide' | undefined;
  readonly watch: boolean;
}

const everyMs = 1000;

export abstract class InspectCommand<
  T extends typeof Command,
  Document extends Answer,
> extends NityCommand<T> {
  /** What the view says now. */
  protected abstract view(snapshot: Snapshot, plane: Plane): Document | Promise<Document>;
  protected abstract render(document: Document): string;

  private get inspectFlags(): InspectFlags {
    return this.flags as unknown as InspectFlags;
  }

  protected table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
    const { output, 'no-headers': noHeaders } = this.inspectFlags;
    return renderTable(rows, columns, { headers: !noHeaders, wide: output === 'wide' });
  }

  async run(): Promise<void> {
    const { 'pin-path': pinPath, watch } = this.inspectFlags;
    const plane = openPlane(pinPath);
    try {
      do {
        // The table that the kernel decides by: the held one when the agent is stale.
        const table = readField(plane).activeTable === 'A' ? 0 : 1;
        const document = await this.view(new Snapshot(plane, table), plane);
        this.answer(document, (shown) => this.render(shown));
        if (watch) await sleep(everyMs);
      } while (watch && !this.unread.signal.aborted);
    } finally {
      plane.close();
    }
  }
}
