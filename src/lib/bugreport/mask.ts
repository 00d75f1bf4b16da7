// What must not leave the node: secrets never, and addresses, names and paths not where
// they are to be masked. The same word has the same mask in the whole archive, so that
// what belongs together still does.
import { isIPv4, isIPv6 } from 'node:net';

/** Credentials in the shapes they usually have. What looks like one goes, whatever it is. */
const secrets: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]+-----[\s\S]*?(-----END [A-Z ]+-----|$)/g, '<secret>'],
  [/\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?/g, '<secret>'],
  [/\b(bearer)\s+[\w.~+/=-]{8,}/gi, '$1 <secret>'],
  [/\b(basic)\s+[A-Za-z0-9+/]{16,}={0,2}/gi, '$1 <secret>'],
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, '$1<secret>@'],
  [
    /([\w-]*(?:password|passwd|secret|token|api[-_]?key|credential)[\w-]*["']?\s*[:=]\s*["']?)[^\s"',;&<]+/gi,
    '$1<secret>',
  ],
];

export function withoutSecrets(text: string): string {
  return secrets.reduce((left, [pattern, mask]) => left.replace(pattern, mask), text);
}

const routeName = /(?<![\w/.-])([a-z0-9][a-z0-9.-]*)\/([a-z0-9][a-z0-9.-]*):[a-z0-9-]+/gi;
const ipv6 = String.raw`(?<ipv6>(?<![\w:.])[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*)`;
const ipv4 = String.raw`(?<ipv4>(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d))`;
/** Paths are the operator's where they are not the system's own. */
const path = String.raw`(?<path>(?<![\w>/.~-])\/(?:[\w@.+~-]+\/)*[\w@.+~-]+)`;
const systemPaths =
  /^\/(sys\/(?!fs\/cgroup)|proc\/|dev\/|usr\/|lib(64)?\/|etc\/os-release|run\/nity|var\/log\/nity)/;
const cgroupRoots = /^\/sys\/fs\/cgroup(\/unified)?$/;

/** Names that every cluster has, and words of Nity's own: they tell nobody apart. */
const everybodys: ReadonlySet<string> = new Set([
  ...['default', 'kubernetes', 'kube-system', 'kube-public', 'kube-node-lease', 'kube-dns'],
  ...['nity', 'nity-system'],
]);

type Kind = 'address' | 'name' | 'path' | 'host' | 'user';

export class Mask {
  private readonly masks = new Map<string, string>();
  private readonly counts = new Map<Kind, number>();
  private readonly words = new Map<string, Kind>();
  private readonly withheld = new Set<string>();
  private pattern: RegExp | undefined;

  /** A word to be masked wherever it stands by itself, in capitals or not. */
  add(kind: 'host' | 'user' | 'name', word: string): void {
    const known = word.toLowerCase();
    if (known === '' || this.words.has(known)) return;
    if (kind === 'name' && everybodys.has(known)) return;
    this.words.set(known, kind);
    this.pattern = undefined;
  }

  /** A whole sentence that an operator wrote, or that quotes one: it may say anything. */
  withhold(sentence: string): void {
    if (sentence.trim() === '') return;
    this.withheld.add(sentence);
    this.pattern = undefined;
  }

  /** Learns namespaces and services from every route that is named in a value. */
  learn(value: unknown): void {
    for (const text of textsOf(value)) {
      for (const [, namespace = '', service = ''] of text.matchAll(routeName)) {
        // A route without a name of its own is named after its address.
        for (const word of [namespace, service]) if (!isIPv4(word)) this.add('name', word);
      }
    }
  }

  text(text: string): string {
    this.pattern ??= this.compile();
    return text.replace(this.pattern, (found: string, ...rest: unknown[]) => {
      const groups = rest.at(-1) as Readonly<Record<string, string | undefined>>;
      if (groups['sentence'] !== undefined) return '<withheld>';
      if (groups['ipv6'] !== undefined) {
        return this.colons(found);
      }
      if (groups['ipv4'] !== undefined) return this.maskOf('address', found);
      if (groups['path'] !== undefined) {
        const isSystems = systemPaths.test(found) || cgroupRoots.test(found);
        return isSystems ? this.within(found) : this.maskOf('path', found);
      }
      return this.maskOf(this.words.get(found.toLowerCase()) ?? 'name', found.toLowerCase());
    });
  }

  /** Every text in a value; keys too, where they are data. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((element) => this.value(element));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, element]) => [
        // Our own keys are plain words, whatever services are called.
        /[^A-Za-z0-9_]/.test(key) ? this.text(key) : key,
        this.value(element),
      ]),
    );
  }

  /** Who is who, for whoever made the archive and nobody else. */
  legend(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.masks].map(([word, mask]) => [mask, word]));
  }

  /** What has colons may be an address, or one before a port or the end of a phrase, or hold one. */
  private colons(found: string): string {
    for (const end of [/$/, /[:.]$/, /[:.]+$/, /:\d+[:.]*$/]) {
      const [rest = ''] = end.exec(found) ?? [];
      const address = found.slice(0, found.length - rest.length);
      if (isIPv6(address)) return this.maskOf('address', address) + rest;
    }
    return found.replace(new RegExp(ipv4, 'g'), (inner) => this.maskOf('address', inner));
  }

  private maskOf(kind: Kind, word: string): string {
    const known = this.masks.get(word);
    if (known !== undefined) return known;
    const number = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, number);
    const mask = `${kind}-${number}`;
    this.masks.set(word, mask);
    return mask;
  }

  /** A name in a path of the system's, such as a pin's or a log's. */
  private within(systemPath: string): string {
    if (this.words.size === 0) return systemPath;
    const words = new RegExp(this.wordPattern(), 'gi');
    return systemPath.replace(words, (word) =>
      this.maskOf(this.words.get(word.toLowerCase()) ?? 'name', word.toLowerCase()),
    );
  }

  /** One pass over a text: what has been masked is never masked again. */
  private compile(): RegExp {
    const sentences = [...this.withheld].sort((a, b) => b.length - a.length).map(escaped);
    const parts = [
      ...(sentences.length === 0 ? [] : [`(?<sentence>${sentences.join('|')})`]),
      ...[ipv6, ipv4, path],
      ...(this.words.size === 0 ? [] : [this.wordPattern()]),
    ];
    return new RegExp(parts.join('|'), 'gi');
  }

  private wordPattern(): string {
    const words = [...this.words.keys()].sort((a, b) => b.length - a.length).map(escaped);
    return `(?<![a-z0-9])(?:${words.join('|')})(?![a-z0-9])`;
  }
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
}

function* textsOf(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (Array.isArray(value)) for (const element of value) yield* textsOf(element);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, element] of Object.entries(value)) {
      yield key;
      yield* textsOf(element);
    }
  }
}
