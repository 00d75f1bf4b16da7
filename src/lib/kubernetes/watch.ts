// List, then watch, for as long as the agent lives. Whatever goes wrong is told, waited
// for and tried again; what was heard last stays until a whole new list is there.
import type { AgentLog } from '../agent/log.js';
import { messageOf } from '../errors.js';
import { ApiError, type ApiClient } from './client.js';
import type { Identity } from './objects.js';
import type { Sink } from './store.js';
import { Backoff, between, isAborted, pause, type Timing } from './timing.js';

/** One collection of the API server. */
export interface Resource<T extends Identity> {
  /** As it is called in the log. */
  readonly name: string;
  readonly path: string;
  readonly labelSelector: string;
  readonly read: (object: unknown) => T | undefined;
}

export type WatchState = 'listing' | 'watching' | 'waiting' | 'stopped';

export interface WatchStatus {
  readonly resource: string;
  readonly state: WatchState;
  readonly synced: boolean;
  /** Since the server said anything at all; null before it did. */
  readonly heardAgoMs: number | null;
  readonly lists: number;
  readonly watches: number;
  readonly failures: number;
  /** Null while all is well. */
  readonly problem: string | null;
}

export interface WatchOptions<T extends Identity> {
  readonly client: ApiClient;
  readonly resource: Resource<T>;
  readonly sink: Sink<T>;
  readonly timing: Timing;
  readonly log: AgentLog;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** The version that was watched is gone, or was never: only a new list helps. */
class Expired extends Error {
  constructor(
    message: string,
    /** The server never knew that version, as one restored from a backup: it may give it anew. */
    readonly isFromFuture = false,
  ) {
    super(message);
  }
}

interface Page {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly unknown[];
}

interface WatchLine {
  readonly type: string;
  readonly object: {
    readonly metadata?: { readonly resourceVersion?: string };
    readonly code?: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

/** A list of so many pages has no end. */
const mostPages = 2_000;
/** A watch that is open for so long is heard, though nothing happens. */
const settledAfterMs = 1_000;
/** A server that ends its watches at once is asked with growing pauses. */
const shortWatchMs = 10_000;

/** Undefined for what has nothing to do with the version. */
function expiryOf(error: unknown, message?: string): Expired | undefined {
  if (!(error instanceof ApiError)) return undefined;
  const isFromFuture = /too large resource version/i.test(error.message);
  const isExpired =
    isFromFuture ||
    error.status === 410 ||
    error.reason === 'Expired' ||
    error.reason === 'Gone' ||
    (error.status === 400 && /resource ?version/i.test(error.message));
  return isExpired ? new Expired(message ?? error.message, isFromFuture) : undefined;
}

export class Watch<T extends Identity> {
  private state: WatchState = 'listing';
  private synced = false;
  private heardMs: number | undefined;
  private lists = 0;
  private watches = 0;
  private failures = 0;
  private problem: string | null = null;
  private readonly backoff: Backoff;

  constructor(private readonly options: WatchOptions<T>) {
    this.backoff = new Backoff(options.timing.backoffMs, options.random);
  }

  status(): WatchStatus {
    const { state, synced, heardMs, lists, watches, failures, problem } = this;
    const heardAgoMs = heardMs === undefined ? null : performance.now() - heardMs;
    const resource = this.options.resource.name;
    return { resource, state, synced, heardAgoMs, lists, watches, failures, problem };
  }

  /** Runs until aborted; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    let version: string | undefined;
    let versionsHold = true;
    while (!signal.aborted) {
      try {
        if (version === undefined) {
          version = await this.list(versionsHold, signal);
          versionsHold = true;
        }
        version = await this.watch(version, signal);
      } catch (error) {
        if (isAborted(signal)) break;
        if (error instanceof Expired) {
          version = undefined;
          if (error.isFromFuture) versionsHold = false;
        }
        await this.wait(error, signal);
      }
    }
    this.state = 'stopped';
  }

  private heard(): void {
    this.heardMs = performance.now();
    if (this.problem !== null) {
      this.options.log.info(`${this.options.resource.name}: the API server is heard again`);
    }
    this.problem = null;
  }

  private async wait(error: unknown, signal: AbortSignal): Promise<void> {
    const why = messageOf(error);
    this.state = 'waiting';
    this.failures++;
    const { log, resource } = this.options;
    // Once for each kind of trouble, not once for each try.
    if (this.problem !== why) {
      const kept = this.synced ? ' The last good state stays in force.' : '';
      log.warn(`${resource.name}: ${why}.${kept}`);
    }
    this.problem = why;
    const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
    await pause(Math.max(asked, this.backoff.nextMs()), signal);
  }

  private query(parameters: Readonly<Record<string, string>>): string {
    const { path, labelSelector } = this.options.resource;
    const selector = labelSelector === '' ? {} : { labelSelector };
    return `${path}?${new URLSearchParams({ ...selector, ...parameters }).toString()}`;
  }

  /** Reads every page before anything is replaced; returns the version that it is of. */
  private async list(versionsHold: boolean, signal: AbortSignal): Promise<string> {
    this.state = 'listing';
    this.lists++;
    const { client, resource, sink, timing } = this.options;
    const objects = new Map<string, T>();
    let next = '';
    for (let page = 0; page < mostPages; page++) {
      const limit = String(timing.pageSize);
      const path = this.query(next === '' ? { limit } : { limit, continue: next });
      const { metadata, items } = (await client.get(path, signal).catch((error: unknown) => {
        throw expiryOf(error, `the list expired on page ${page + 1}`) ?? error;
      })) as Page;
      this.heard();
      for (const item of items ?? []) {
        const object = this.guarded(() => resource.read(item));
        if (object !== undefined) objects.set(object.key, object);
      }
      next = metadata?.continue ?? '';
      if (next !== '') continue;
      const version = metadata?.resourceVersion ?? '';
      if (version === '') throw new Error('the list has no resourceVersion');
      sink.replace(objects, versionsHold);
      this.synced = true;
      this.backoff.reset();
      return version;
    }
    throw new Error(`the list has more than ${mostPages} pages`);
  }

  /** Watches from `from` until the server ends it; returns the version it came to. */
  private async watch(from: string, signal: AbortSignal): Promise<string> {
    this.state = 'watching';
    this.watches++;
    const { client, timing, random } = this.options;
    const beganMs = performance.now();
    const isLong = () => performance.now() - beganMs >= shortWatchMs;
    const path = this.query({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: from,
      timeoutSeconds: String(Math.round(between(timing.watchSeconds, random))),
    });
    let version = from;
    let lines = 0;
    let settled: NodeJS.Timeout | undefined;
    try {
      const end = await client
        .lines(
          path,
          {
            // Until the first bookmark a minute may pass; one that is torn at once heals nothing.
            onOpen: () => {
              settled = setTimeout(() => {
                this.heard();
              }, settledAfterMs);
            },
            onLine: (line) => {
              version = this.hear(line) ?? version;
              lines++;
            },
          },
          signal,
        )
        .finally(() => {
          clearTimeout(settled);
        });
      if (end === 'silent') {
        // One that never spoke may be deaf: it waits for a version from the future.
        if (lines === 0) throw new Expired('a watch said nothing', true);
        throw new Error('the watch fell silent');
      }
    } catch (error) {
      if (isLong()) this.backoff.reset();
      const expiry = expiryOf(error);
      if (expiry !== undefined) throw expiry;
      if (lines === 0 || error instanceof Expired || signal.aborted) throw error;
      // Heard up to `version`: what failed is the connection, and it goes on from there.
      await this.wait(error, signal);
      return version;
    }
    if (isLong()) this.backoff.reset();
    else await pause(this.backoff.nextMs(), signal);
    return version;
  }

  /** One event; returns the version it brings. Throws what ends the watch. */
  private hear(line: string): string | undefined {
    const { type, object } = parseLine(line);
    if (type === 'ERROR') {
      const { code = 0, reason = '', message = `status ${code}` } = object;
      throw new ApiError(code, reason, message);
    }
    this.heard();
    const version = object.metadata?.resourceVersion;
    if (type !== 'BOOKMARK') this.apply(type, object);
    return version === '' ? undefined : version;
  }

  private apply(type: string, raw: unknown): void {
    const { resource, sink } = this.options;
    this.guarded(() => {
      const object = resource.read(raw);
      if (object === undefined) return;
      if (type === 'DELETED') sink.remove(object.key, object.uid);
      else if (type === 'ADDED' || type === 'MODIFIED') sink.put(object);
    });
  }

  /** What fails on one object must not end the talk about the others. */
  private guarded<R>(handle: () => R): R | undefined {
    try {
      return handle();
    } catch (error) {
      this.failures++;
      this.options.log.warn(
        `${this.options.resource.name}: an object was passed over: ${String(error)}`,
      );
      return undefined;
    }
  }
}

/** A line that cannot be read may have said anything: what is known is listed anew. */
function parseLine(line: string): WatchLine {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    throw new Expired('a line of the watch is no JSON');
  }
  if (typeof parsed === 'object' && parsed !== null && 'type' in parsed && 'object' in parsed) {
    const { type, object } = parsed;
    if (typeof type === 'string' && typeof object === 'object' && object !== null) {
      return { type, object };
    }
  }
  throw new Expired('a line of the watch is no event');
}
