// The agent's talk with the API server: who it is, where it dials, and requests whose
// every part has a deadline. It knows HTTP and JSON, and nothing of what is asked for.
import { lookup } from 'node:dns/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP, isIPv4 } from 'node:net';
import { checkServerIdentity } from 'node:tls';

import type { Timing } from './timing.js';
import type { WayIn } from './way-in.js';

/** What the API server answered, when it is not what was asked for. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    /** When it asks to be asked again; null if it does not say. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** Where an API server listens. */
export interface ApiEndpoint {
  readonly address: string;
  readonly port: number;
}

interface Request {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
}

/** The largest object is 1.5 MiB in etcd; a page of 500 such is no list of slices. */
const mostLineBytes = 16 << 20;
const mostBodyBytes = 256 << 20;

/** Calls `late` if nothing touched it for `ms`. */
class Patience {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ms: number,
    private readonly late: () => void,
  ) {
    this.touch();
  }

  touch(): void {
    if (this.timer === undefined) this.timer = setTimeout(this.late, this.ms);
    else this.timer.refresh();
  }

  end(): void {
    clearTimeout(this.timer);
  }
}

export class ApiClient {
  private readonly server: URL;
  private readonly agent: Agent | HttpAgent;
  /** The configured way first; then those that the cluster named. */
  private endpoints: readonly ApiEndpoint[];
  private current = 0;
  requests = 0;

  constructor(
    private readonly wayIn: WayIn,
    private readonly timing: Timing,
  ) {
    this.server = wayIn.server;
    const { server } = this;
    const secure = server.protocol === 'https:';
    this.agent = secure ? new Agent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
    const port = server.port === '' ? (secure ? 443 : 80) : Number(server.port);
    this.endpoints = [{ address: this.host, port }];
  }

  private get host(): string {
    return this.server.hostname.replace(/^\[|\]$/g, '');
  }

  get url(): string {
    return this.server.origin;
  }

  /** Where else the API server can be reached, when the configured way is shut. */
  alsoAt(endpoints: readonly ApiEndpoint[]): void {
    this.endpoints = [...this.endpoints.slice(0, 1), ...endpoints];
    this.current = 0;
  }

  /** Every address that the agent itself may dial, as "ip:port": none may depend on Nity. */
  async dialled(): Promise<string[]> {
    const named = await Promise.all(
      this.endpoints.map(async ({ address, port }) => {
        const known = isIP(address) === 0 ? await addressesOf(address) : [address];
        return known.filter((ip) => isIPv4(ip)).map((ip) => `${ip}:${port}`);
      }),
    );
    return named.flat();
  }

  /** The JSON document at `path`. */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return JSON.parse(await this.text({ method: 'GET', path }, signal)) as unknown;
  }

  async post(path: string, body: unknown, signal: AbortSignal): Promise<void> {
    await this.text({ method: 'POST', path, body }, signal);
  }

  /** Each line of a watch as it comes, after it was let in; resolves to how it ended. */
  async lines(
    path: string,
    { onOpen, onLine }: { readonly onOpen: () => void; readonly onLine: (line: string) => void },
    signal: AbortSignal,
  ): Promise<'ended' | 'silent'> {
    const answer = await this.ask({ method: 'GET', path }, signal);
    onOpen();
    return new Promise((resolve, reject) => {
      let rest = '';
      const done = (settle: () => void) => {
        patience.end();
        signal.removeEventListener('abort', onAbort);
        answer.destroy();
        settle();
      };
      const onAbort = () => {
        done(() => {
          resolve('ended');
        });
      };
      const patience = new Patience(this.timing.silenceMs, () => {
        this.elsewhere();
        done(() => {
          resolve('silent');
        });
      });
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) onAbort();
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        patience.touch();
        const parts = (rest + chunk).split('\n');
        rest = parts.pop() ?? '';
        try {
          for (const line of parts) if (line !== '') onLine(line);
          if (rest.length > mostLineBytes) throw new Error('a line of the watch has no end');
        } catch (error) {
          done(() => {
            reject(error instanceof Error ? error : new Error(String(error)));
          });
        }
      });
      answer.on('end', () => {
        done(() => {
          resolve('ended');
        });
      });
      // A connection that is cut within a chunk ends without an end, or as Node's "aborted".
      const torn = () => {
        done(() => {
          reject(new Error('the connection was torn'));
        });
      };
      answer.on('error', torn);
      answer.on('close', torn);
    });
  }

  close(): void {
    this.agent.destroy();
  }

  private elsewhere(): void {
    this.current = (this.current + 1) % this.endpoints.length;
  }

  private async text(asked: Request, signal: AbortSignal): Promise<string> {
    return bodyOf(await this.ask(asked, signal), this.timing.answerMs, signal);
  }

  /** The head of a good answer; whatever else comes is thrown. */
  private async ask(asked: Request, signal: AbortSignal): Promise<IncomingMessage> {
    let answer;
    try {
      answer = await this.send(asked, signal);
    } catch (error) {
      this.elsewhere();
      throw error;
    }
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    const text = await bodyOf(answer, this.timing.answerMs, signal);
    // The server says "Unauthorized", and nothing of why.
    if (status === 401) throw new ApiError(401, 'Unauthorized', notKnown);
    const seconds = Number(answer.headers['retry-after']);
    const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null;
    throw statusError(text, status, retryAfterMs);
  }

  private async options(): Promise<RequestOptions> {
    const options = await this.wayIn.options();
    options.agent ??= this.agent;
    // Wherever it is dialled, it must prove to be the server that was configured.
    const identity = this.wayIn.tlsServerName ?? this.host;
    options.checkServerIdentity = (_dialled, certificate) =>
      checkServerIdentity(identity, certificate);
    options.servername = isIP(identity) === 0 ? identity : '';
    return options;
  }

  private async send(asked: Request, signal: AbortSignal): Promise<IncomingMessage> {
    const options = await this.options();
    const { address, port } = this.endpoints[this.current] ?? this.endpoints[0] ?? nowhere;
    const body = asked.body === undefined ? undefined : JSON.stringify(asked.body);
    const { host } = this.server;
    const headers = Object.assign({ host, accept: 'application/json' }, options.headers);
    if (body !== undefined) Object.assign(headers, { 'content-type': 'application/json' });
    const prefix = this.server.pathname.replace(/\/$/, '');
    this.requests++;
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(new Error('stopped'));
        return;
      }
      const request = this.server.protocol === 'https:' ? httpsRequest : httpRequest;
      const sent = request({
        ...options,
        host: address,
        port,
        method: asked.method,
        path: `${prefix}${asked.path}`,
        headers,
      });
      const onAbort = () => sent.destroy(new Error('stopped'));
      const patience = new Patience(this.timing.answerMs, () =>
        sent.destroy(new Error(`${address}:${port} did not answer`)),
      );
      const done = () => {
        patience.end();
        signal.removeEventListener('abort', onAbort);
      };
      signal.addEventListener('abort', onAbort);
      sent.on('response', (answer) => {
        done();
        resolve(answer);
      });
      // Also after the answer began, when its own listeners tell.
      sent.on('error', (error) => {
        done();
        reject(error);
      });
      sent.on('socket', (socket) => socket.setKeepAlive(true, 15_000));
      sent.end(body);
    });
  }
}

/** Why whoever asks is not heard. */
export const notKnown =
  'the API server does not know who asks (401 Unauthorized): the token is wrong, expired or missing';
const nowhere: ApiEndpoint = { address: '127.0.0.1', port: 0 };

async function addressesOf(name: string): Promise<string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address);
  } catch {
    // A name that does not resolve cannot be dialled either.
    return [];
  }
}

function statusError(text: string, status: number, retryAfterMs: number | null): ApiError {
  try {
    const { reason, message: told } = JSON.parse(text) as { reason?: string; message?: string };
    return new ApiError(status, reason ?? '', told ?? `status ${status}`, retryAfterMs);
  } catch {
    return new ApiError(status, '', `status ${status}`, retryAfterMs);
  }
}

function bodyOf(answer: IncomingMessage, answerMs: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (error: Error) => {
      patience.end();
      signal.removeEventListener('abort', onAbort);
      answer.destroy();
      reject(error);
    };
    const onAbort = () => {
      fail(new Error('stopped'));
    };
    const patience = new Patience(answerMs, () => {
      fail(new Error('the answer stopped in its middle'));
    });
    signal.addEventListener('abort', onAbort);
    answer.on('data', (chunk: Buffer) => {
      patience.touch();
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > mostBodyBytes)
        fail(new Error(`the answer is longer than ${mostBodyBytes} bytes`));
    });
    answer.on('end', () => {
      patience.end();
      signal.removeEventListener('abort', onAbort);
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
    answer.on('error', fail);
    answer.on('close', () => {
      if (!answer.complete) fail(new Error('the connection was closed'));
    });
  });
}
