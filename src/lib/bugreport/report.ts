// The bug report as files: what was collected, without secrets, masked if that is asked
// for, and a manifest that says what is there, what is not, and why.
import { isIP } from 'node:net';
import { hostname, userInfo } from 'node:os';

import type { ArchiveFile } from './archive.js';
import type { Collected, Content } from './gathering.js';
import { Mask, withoutSecrets } from './mask.js';

export interface ManifestFile {
  readonly path: string;
  readonly about: string;
  readonly bytes: number;
}

export interface Manifest {
  readonly schemaVersion: 1;
  readonly madeAt: string;
  readonly nity: string;
  readonly uid: number;
  /** Whether addresses, names and paths are masked. */
  readonly redacted: boolean;
  readonly files: readonly ManifestFile[];
  readonly missing: readonly {
    readonly path: string;
    readonly about: string;
    readonly why: string;
  }[];
}

export interface BugReport {
  readonly manifest: Manifest;
  readonly files: readonly ArchiveFile[];
  /** What each mask stands for; never in the archive. */
  readonly legend: Readonly<Record<string, string>>;
}

export interface ReportOptions {
  readonly nity: string;
  readonly madeAt: Date;
  readonly redact: boolean;
}

const indent = 2;
/** What an operator wrote by hand, or a message that quotes it. */
const freeTexts: ReadonlySet<string> = new Set(['reason', 'why']);

export function assemble({ parts, missing }: Collected, options: ReportOptions): BugReport {
  const plainParts = parts.map((part) => ({ ...part, content: plain(part.content) }));
  const mask = options.redact ? maskFor(plainParts.map(({ content }) => content)) : undefined;
  const files = plainParts.map(({ path, about, content }) => ({
    about,
    path,
    bytes: bytesOf(content, mask),
  }));
  const manifest: Manifest = {
    schemaVersion: 1,
    madeAt: options.madeAt.toISOString(),
    nity: options.nity,
    uid: process.getuid?.() ?? 0,
    redacted: options.redact,
    files: files.map(({ path, about, bytes }) => ({ path, about, bytes: bytes.length })),
    missing: missing.map(({ path, about, why }) => ({
      ...{ path, about },
      why: withoutSecrets(mask === undefined ? why : mask.text(why)),
    })),
  };
  const text = `${JSON.stringify(manifest, undefined, indent)}\n`;
  return {
    manifest,
    files: [
      { path: 'manifest.json', bytes: Buffer.from(text) },
      ...files.map(({ path, bytes }) => ({ path, bytes })),
    ],
    legend: mask?.legend() ?? {},
  };
}

function maskFor(contents: readonly Content[]): Mask {
  const mask = new Mask();
  mask.add('host', hostname());
  for (const user of [userInfo().username, process.env['SUDO_USER'] ?? '']) {
    if (user !== 'root') mask.add('user', user);
  }
  for (const content of contents) {
    if (content.kind === 'binary') continue;
    const value = content.kind === 'json' ? content.value : content.lines;
    mask.learn(value);
    for (const { key, text } of keyedTexts(value)) {
      if (freeTexts.has(key)) mask.withhold(text);
      if (key === 'host' || key === 'node') mask.add('host', text);
      if (key === 'server') mask.add('host', hostOf(text));
      // Of a Service that has no route, which would be known by its name.
      if (key === 'service') for (const word of text.split('/')) mask.add('name', word);
      if (key === 'sudoUser' && text !== 'root') mask.add('user', text);
    }
  }
  return mask;
}

/** Of a URL; an address is masked as one. */
function hostOf(url: string): string {
  const name = URL.canParse(url) ? new URL(url).hostname : '';
  return isIP(name.replace(/^\[|\]$/g, '')) === 0 ? name : '';
}

function* keyedTexts(value: unknown): Generator<{ readonly key: string; readonly text: string }> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, element] of Object.entries(value as Readonly<Record<string, unknown>>)) {
    if (key === 'progress' && typeof element === 'object' && element !== null) {
      for (const service of Object.keys(element)) yield { key: 'service', text: service };
    }
    if (typeof element === 'string') yield { key, text: element };
    else yield* keyedTexts(element);
  }
}

/** Only what JSON has: so that whatever is masked is what is written. */
function plain(content: Content): Content {
  if (content.kind !== 'json') return content;
  const text = JSON.stringify(content.value, (_key, value: unknown) => {
    if (typeof value === 'bigint') return value.toString();
    if (value instanceof Set) return [...(value as ReadonlySet<unknown>)];
    if (value instanceof Map) {
      return Object.fromEntries(
        [...(value as ReadonlyMap<unknown, unknown>)].map(([key, of]) => [String(key), of]),
      );
    }
    return value;
  });
  return { kind: 'json', value: JSON.parse(text) as unknown };
}

function bytesOf(content: Content, mask: Mask | undefined): Buffer {
  if (content.kind === 'binary') return content.bytes;
  if (content.kind === 'lines') {
    const lines = content.lines.map((line) => withoutSecrets(mask?.text(line) ?? line));
    return Buffer.from(lines.map((line) => `${line}\n`).join(''));
  }
  const value = mask === undefined ? content.value : mask.value(content.value);
  return Buffer.from(`${JSON.stringify(texts(value), undefined, indent)}\n`);
}

/** Each text without secrets; a text whose own key names it one goes whole. */
function texts(value: unknown): unknown {
  if (typeof value === 'string') return withoutSecrets(value);
  if (Array.isArray(value)) return value.map(texts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, element]) => [
      key,
      typeof element === 'string' && isSecretName(key) ? '<secret>' : texts(element),
    ]),
  );
}

function isSecretName(key: string): boolean {
  return /password|passwd|secret|token|api[-_]?key|credential/i.test(key);
}
