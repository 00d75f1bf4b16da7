// An API server of the tests' own: list with limit and continue, watch with bookmarks,
// resource versions and rights by bearer token, over TLS. It misbehaves when asked to.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { generate } from 'selfsigned';

import { listenOnLastingPort } from '../../src/lib/demo/lasting-port.js';

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
    readonly creationTimestamp?: string;
  };
  readonly [field: string]: unknown;
}

interface Happened {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly plural: Plural;
  readonly object: KubeObject;
  /** What it was before; an event of MODIFIED has it. */
  readonly before?: KubeObject | undefined;
}

interface Watcher {
  readonly plural: Plural;
  readonly matches: (object: KubeObject) => boolean;
  readonly response: ServerResponse;
}

export type Plural = 'services' | 'endpointslices' | 'nodes' | 'events' | 'namespaces';

const kinds: Readonly<Record<Plural, string>> = {
  services: 'Service',
  endpointslices: 'EndpointSlice',
  nodes: 'Node',
  events: 'Event',
  namespaces: 'Namespace',
};
const verbs: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', DELETE: 'delete' };

/** What was asked for, in the order of asking. */
export interface Asked {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly method: string;
}

/** Each is off at first. */
export interface Faults {
  /** Answers nothing, and sends nothing on what is open. */
  frozen: boolean;
  /** Answers every request with this status. */
  status: number | undefined;
  /** With that status: seconds in which it does not want to be asked again. */
  retryAfter: number | undefined;
  /** Lists end with 410 on their second page, so many times. */
  expiredPages: number;
  /** Watches begin with 410, so many times. */
  goneWatches: number;
  /** Each event is sent twice. */
  duplicates: boolean;
  /** No bookmarks, as a server that never heard of them. */
  noBookmarks: boolean;
}

export const goodToken = 'nity-agent';
/** May do everything. */
export const adminToken = 'admin';

/** `key=value`, `key` and `!key`, separated by commas: what the agent and its users write. */
function labelsMatch(selector: string, labels: Readonly<Record<string, string>>): boolean {
  return selector
    .split(',')
    .filter((term) => term !== '')
    .every((term) => {
      if (term.startsWith('!')) return !Object.hasOwn(labels, term.slice(1));
      const [key = '', value] = term.split('=');
      return value === undefined ? Object.hasOwn(labels, key) : labels[key] === value;
    });
}

async function bodyOf(asked: IncomingMessage): Promise<KubeObject> {
  let text = '';
  asked.setEncoding('utf8');
  for await (const chunk of asked) text += String(chunk);
  return JSON.parse(text) as KubeObject;
}

export class ApiServer {
  readonly faults: Faults = {
    frozen: false,
    status: undefined,
    retryAfter: undefined,
    expiredPages: 0,
    goneWatches: 0,
    duplicates: false,
    noBookmarks: false,
  };
  readonly asked: Asked[] = [];
  /** What a token may do, as "verb plural"; a token that is not there may do nothing. */
  readonly rights = new Map([
    [adminToken, new Set<string>()],
    [
      goodToken,
      new Set([
        ...['services', 'endpointslices'].flatMap((what) => [`list ${what}`, `watch ${what}`]),
        'get nodes',
        'create events',
      ]),
    ],
  ]);
  private objects = new Map<string, KubeObject>();
  private history: Happened[] = [];
  private version = 100;
  /** Watches of versions before this one are refused. */
  private compacted = 0;
  private uids = 0;
  private addresses = 0;
  private readonly watchers = new Set<Watcher>();
  private readonly sockets = new Set<Duplex>();
  private readonly held: (() => void)[] = [];
  private server: Server | undefined;
  private bookmarks: NodeJS.Timeout | undefined;
  port = 0;

  private constructor(
    private readonly pair: { readonly private: string; readonly cert: string },
    private readonly bookmarkEveryMs: number,
  ) {}

  /** A real server sends a bookmark a minute. */
  static async start(bookmarkEveryMs = 50): Promise<ApiServer> {
    const pair = await generate([{ name: 'commonName', value: 'nity-test' }], {
      keyType: 'ec',
      extensions: [
        { name: 'basicConstraints', cA: true },
        {
          name: 'subjectAltName',
          altNames: [
            { type: 7, ip: '127.0.0.1' },
            { type: 2, value: 'localhost' },
          ],
        },
      ],
    });
    const server = new ApiServer(pair, bookmarkEveryMs);
    await server.listen();
    return server;
  }

  /** Also after stop(), on the same port and with everything it knew. */
  async listen(): Promise<void> {
    const server = createServer(
      { key: this.pair.private, cert: this.pair.cert },
      (asked, answer) => {
        this.serve(asked, answer);
      },
    );
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => undefined);
    });
    this.port = await listenOnLastingPort(server, this.port);
    this.server = server;
    this.bookmarks = setInterval(() => {
      this.bookmark();
    }, this.bookmarkEveryMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.bookmarks);
    const { server } = this;
    this.server = undefined;
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    this.cut();
    await closed;
  }

  /** A kubeconfig for this server, written to `path`. */
  writeKubeconfig(path: string, token = goodToken): void {
    const cluster = {
      server: `https://127.0.0.1:${this.port}`,
      'certificate-authority-data': Buffer.from(this.pair.cert).toString('base64'),
    };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'agent', user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'agent' } }],
      'current-context': 'test',
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  }

  /** What the kubelet gives to a pod of a ServiceAccount. */
  writeServiceAccount(directory: string, token = goodToken): void {
    writeFileSync(join(directory, 'token'), token, { mode: 0o600 });
    writeFileSync(join(directory, 'ca.crt'), this.pair.cert);
  }

  // What the cluster does.

  apply(plural: Plural, object: KubeObject): KubeObject {
    const key = this.keyOf(plural, object);
    const known = this.objects.get(key);
    const stored = {
      ...object,
      metadata: {
        creationTimestamp: new Date(1_700_000_000_000).toISOString(),
        ...object.metadata,
        uid: object.metadata.uid ?? known?.metadata.uid ?? `uid-${++this.uids}`,
        resourceVersion: String(++this.version),
      },
    };
    this.objects.set(key, stored);
    this.happen(known === undefined ? 'ADDED' : 'MODIFIED', plural, stored, known);
    return stored;
  }

  delete(plural: Plural, namespace: string, name: string): void {
    const key = `${plural}/${namespace}/${name}`;
    const known = this.objects.get(key);
    if (known === undefined) return;
    this.objects.delete(key);
    const metadata = { ...known.metadata, resourceVersion: String(++this.version) };
    this.happen('DELETED', plural, { ...known, metadata });
  }

  of(plural: Plural): KubeObject[] {
    return [...this.objects].flatMap(([key, object]) =>
      key.startsWith(`${plural}/`) ? [object] : [],
    );
  }

  // How it misbehaves.

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Forgets what happened: a watch that is behind gets 410. */
  compact(): void {
    this.history = [];
    this.compacted = this.version;
  }

  /** A backup is restored: the server knows less than it did, and its versions are older. */
  restore(version: number): void {
    this.history = [];
    this.version = version;
    this.compacted = 0;
  }

  /** Every watch gets this as it is, without a line's end of its own. */
  say(raw: string): void {
    for (const { response } of this.watchers) response.write(raw);
  }

  /** An ERROR in the stream, as when a watch falls behind; the watch ends with it. */
  expireWatches(): void {
    const object = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' };
    for (const { response } of this.watchers) {
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    }
    this.watchers.clear();
  }

  endWatches(): void {
    for (const { response } of this.watchers) response.end();
    this.watchers.clear();
  }

  thaw(): void {
    this.faults.frozen = false;
    for (const answer of this.held.splice(0)) answer();
  }

  get watching(): number {
    return this.watchers.size;
  }

  get connections(): number {
    return this.sockets.size;
  }

  /** Of the whole cluster: the look at the server's own endpoints, whenever it comes, is none. */
  lists(plural: Plural): Asked[] {
    return this.asked.filter(
      ({ path, query, method }) =>
        method === 'GET' &&
        path.endsWith(`/${plural}`) &&
        !path.includes('/namespaces/') &&
        query.get('watch') === null,
    );
  }

  watches(plural: Plural): Asked[] {
    return this.asked.filter(
      ({ path, query }) => path.endsWith(`/${plural}`) && query.get('watch') !== null,
    );
  }

  private keyOf(plural: Plural, { metadata: { namespace = '', name } }: KubeObject): string {
    return `${plural}/${namespace}/${name}`;
  }

  private happen(
    type: Happened['type'],
    plural: Plural,
    object: KubeObject,
    before?: KubeObject,
  ): void {
    const happened = { version: this.version, type, plural, object, before };
    this.history.push(happened);
    if (this.faults.frozen) return;
    for (const watcher of this.watchers) this.send(watcher, happened);
  }

  private send(
    { plural, matches, response }: Watcher,
    { type: what, plural: of, object, before }: Happened,
  ): void {
    if (plural !== of) return;
    // To who watches a selection, an object that enters it is added, and one that leaves deleted.
    const was = before !== undefined && matches(before);
    const is = matches(object);
    if (!is && !was) return;
    const type = what !== 'MODIFIED' ? what : !is ? 'DELETED' : was ? what : 'ADDED';
    const line = `${JSON.stringify({ type, object })}\n`;
    response.write(this.faults.duplicates ? line + line : line);
  }

  private bookmark(): void {
    if (this.faults.frozen || this.faults.noBookmarks) return;
    for (const { plural, response } of this.watchers) {
      const metadata = { resourceVersion: String(this.version) };
      const object = { kind: kinds[plural], metadata };
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
    }
  }

  private serve(asked: IncomingMessage, answer: ServerResponse): void {
    const url = new URL(asked.url ?? '/', 'http://server');
    const method = asked.method ?? 'GET';
    this.asked.push({ path: url.pathname, query: url.searchParams, method });
    if (this.faults.frozen) {
      this.held.push(() => {
        this.answer(asked, answer, url);
      });
      return;
    }
    this.answer(asked, answer, url);
  }

  private fail(answer: ServerResponse, code: number, reason: string, message = reason): void {
    answer.writeHead(code, { 'content-type': 'application/json' });
    answer.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message }));
  }

  private answer(asked: IncomingMessage, answer: ServerResponse, url: URL): void {
    const { status, retryAfter } = this.faults;
    if (status !== undefined) {
      if (retryAfter !== undefined) answer.setHeader('retry-after', retryAfter);
      this.fail(answer, status, 'Fault', `the test says ${status}`);
      return;
    }
    const token = asked.headers.authorization?.replace('Bearer ', '') ?? '';
    const rights = this.rights.get(token);
    if (rights === undefined) {
      this.fail(answer, 401, 'Unauthorized');
      return;
    }
    const may = (what: string) => token === adminToken || rights.has(what);
    if (url.pathname === '/version') {
      this.tell(answer, 200, { gitVersion: 'v1.36.0' });
      return;
    }
    if (url.pathname.endsWith('/selfsubjectaccessreviews')) {
      void this.review(asked, answer, may);
      return;
    }
    const path =
      /^\/(?:api\/v1|apis\/discovery\.k8s\.io\/v1)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(
        url.pathname,
      );
    const plural = path?.[2] as Plural | undefined;
    if (path === null || plural === undefined || !Object.hasOwn(kinds, plural)) {
      this.fail(answer, 404, 'NotFound');
      return;
    }
    const [, namespace, , name] = path;
    const isWatch = url.searchParams.get('watch') !== null;
    const verb =
      verbs[asked.method ?? ''] ?? (name !== undefined ? 'get' : isWatch ? 'watch' : 'list');
    if (!may(`${verb} ${plural}`)) {
      this.fail(answer, 403, 'Forbidden', `${plural} is forbidden: cannot ${verb}`);
      return;
    }
    if (verb === 'create') {
      void this.create(asked, answer, plural, namespace);
      return;
    }
    if (name !== undefined) {
      const object = this.objects.get(`${plural}/${namespace ?? ''}/${name}`);
      if (object === undefined) this.fail(answer, 404, 'NotFound');
      else if (verb === 'update') void this.update(asked, answer, plural);
      else {
        if (verb === 'delete') this.delete(plural, namespace ?? '', name);
        this.tell(answer, 200, object);
      }
      return;
    }
    const selector = url.searchParams.get('labelSelector') ?? '';
    const matches = ({ metadata }: KubeObject) =>
      (namespace === undefined || metadata.namespace === namespace) &&
      labelsMatch(selector, metadata.labels ?? {});
    if (isWatch) this.watch(answer, url.searchParams, { plural, matches, response: answer });
    else this.list(answer, url.searchParams, plural, matches);
  }

  private tell(answer: ServerResponse, status: number, object: unknown): void {
    answer.writeHead(status, { 'content-type': 'application/json' });
    answer.end(JSON.stringify(object));
  }

  private async review(
    asked: IncomingMessage,
    answer: ServerResponse,
    may: (what: string) => boolean,
  ): Promise<void> {
    const { resourceAttributes: of } = (await bodyOf(asked))['spec'] as {
      resourceAttributes: { verb: string; resource: string };
    };
    this.tell(answer, 201, { status: { allowed: may(`${of.verb} ${of.resource}`) } });
  }

  private async create(
    asked: IncomingMessage,
    answer: ServerResponse,
    plural: Plural,
    namespace: string | undefined,
  ): Promise<void> {
    const sent = await bodyOf(asked);
    const object = {
      ...sent,
      metadata: namespace === undefined ? sent.metadata : { ...sent.metadata, namespace },
      ...(plural === 'services' ? { spec: this.withAddress(sent['spec']) } : {}),
    };
    if (this.objects.has(this.keyOf(plural, object))) this.fail(answer, 409, 'AlreadyExists');
    else this.tell(answer, 201, this.apply(plural, object));
  }

  private async update(
    asked: IncomingMessage,
    answer: ServerResponse,
    plural: Plural,
  ): Promise<void> {
    this.tell(answer, 200, this.apply(plural, await bodyOf(asked)));
  }

  /** A Service that asks for no address of its own is given one. */
  private withAddress(spec: unknown): object {
    const clusterIP = `127.96.200.${++this.addresses}`;
    return { clusterIP, clusterIPs: [clusterIP], ...(spec as object) };
  }

  private list(
    answer: ServerResponse,
    query: URLSearchParams,
    plural: Plural,
    matches: (object: KubeObject) => boolean,
  ): void {
    const limit = Number(query.get('limit') ?? 0);
    const [of = this.version, from = 0] = (query.get('continue') ?? '')
      .split(':')
      .filter((part) => part !== '')
      .map(Number);
    if (from > 0 && this.faults.expiredPages > 0) {
      this.faults.expiredPages--;
      this.fail(answer, 410, 'Expired', 'The provided continue parameter is too old');
      return;
    }
    const all = this.of(plural).filter(matches);
    const items = limit > 0 ? all.slice(from, from + limit) : all;
    const next = from + items.length;
    const metadata = {
      resourceVersion: String(of),
      ...(next < all.length ? { continue: `${of}:${next}` } : {}),
    };
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.end(JSON.stringify({ kind: `${kinds[plural]}List`, metadata, items }));
  }

  private watch(answer: ServerResponse, query: URLSearchParams, watcher: Watcher): void {
    const from = Number(query.get('resourceVersion') ?? 0);
    if (this.faults.goneWatches > 0 || from < this.compacted) {
      this.faults.goneWatches = Math.max(0, this.faults.goneWatches - 1);
      this.fail(answer, 410, 'Expired', 'too old resource version');
      return;
    }
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.flushHeaders();
    // A version from the future: the server waits for it, and says nothing.
    if (from > this.version) return;
    for (const happened of this.history) {
      if (happened.version > from) this.send(watcher, happened);
    }
    this.watchers.add(watcher);
    const seconds = Number(query.get('timeoutSeconds') ?? 3600);
    const timer = setTimeout(() => {
      this.watchers.delete(watcher);
      answer.end();
    }, seconds * 1000);
    answer.on('close', () => {
      clearTimeout(timer);
      this.watchers.delete(watcher);
    });
  }
}
