// The parts of a bug report as they are gathered: those that could be had, and those that
// could not with the reason.
import { messageOf } from '../errors.js';

export type Content =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'lines'; readonly lines: readonly string[] }
  | { readonly kind: 'binary'; readonly bytes: Buffer };

export interface Part {
  readonly path: string;
  readonly about: string;
  readonly content: Content;
}

export interface MissingPart {
  readonly path: string;
  readonly about: string;
  readonly why: string;
}

export interface Collected {
  readonly parts: readonly Part[];
  readonly missing: readonly MissingPart[];
}

/** Reads one part. */
type Reading = () => Content | Promise<Content>;

export class Gathering implements Collected {
  readonly parts: Part[] = [];
  readonly missing: MissingPart[] = [];

  async add(path: string, about: string, read: Reading): Promise<void> {
    try {
      this.parts.push({ path, about, content: await read() });
    } catch (error) {
      this.lack(path, about, error);
    }
  }

  lack(path: string, about: string, error: unknown): void {
    const why = messageOf(error);
    this.missing.push({ path, about, why });
  }
}

export const json = (value: unknown): Content => ({ kind: 'json', value });
