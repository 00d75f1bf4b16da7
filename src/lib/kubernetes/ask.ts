// One question at a time to the API server, for whoever looks at a cluster once: the whole
// answer, whatever its status. The agent's own lists and watches do not come this way.
import { existsSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';

import { InputError, messageOf } from '../errors.js';

export interface ApiAnswer {
  readonly status: number;
  /** Its clock, to the second; null if it does not say. */
  readonly date: Date | null;
  /** Parsed; undefined when it is no JSON. */
  readonly body: unknown;
}

export interface ApiQuestion {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
}

export interface Api {
  readonly server: string;
  ask(question: ApiQuestion): Promise<ApiAnswer>;
}

export interface ApiAccess {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

const answerMs = 5_000;
const mostBytes = 64 << 20;
const tokenFile = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** Null where no cluster is named: neither a file, nor KUBECONFIG, nor a pod's own account. */
export async function openApi(access: ApiAccess): Promise<Api | null> {
  const { env } = process;
  const inPod = env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(tokenFile);
  const named = access.kubeconfig ?? env['KUBECONFIG'];
  if (named === undefined && !inPod) return null;
  // It takes 0.4 s, which whoever has no cluster need not wait for.
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    if (access.kubeconfig !== undefined) config.loadFromFile(access.kubeconfig);
    else if (named === undefined) config.loadFromCluster();
    else config.loadFromDefault({ onInvalidEntry: 'filter' });
    if (access.context !== undefined) config.setCurrentContext(access.context);
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new Error('the context names no cluster');
    const url = new URL(cluster.server);
    return {
      server: url.origin,
      async ask(question) {
        const options: RequestOptions = {};
        await config.applyToHTTPSOptions(options);
        return send(url, options, question);
      },
    };
  } catch (error) {
    throw new InputError(
      `The way into the cluster cannot be read: ${messageOf(error)}.`,
      'Name a readable file with --kubeconfig, and a context of it with --context.',
      error,
    );
  }
}

function send(url: URL, options: RequestOptions, question: ApiQuestion): Promise<ApiAnswer> {
  const body = question.body === undefined ? undefined : JSON.stringify(question.body);
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = request(new URL(url.pathname.replace(/\/$/, '') + question.path, url), {
      ...options,
      method: question.method,
      headers: Object.assign(
        { accept: 'application/json' },
        options.headers,
        body === undefined ? {} : { 'content-type': 'application/json' },
      ),
      signal: AbortSignal.timeout(answerMs),
    });
    sent.on('error', reject);
    sent.on('response', (answer) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > mostBytes) answer.destroy(new Error(`it is longer than ${mostBytes} bytes`));
        else chunks.push(chunk);
      });
      answer.on('error', reject);
      answer.on('end', () => {
        const date = new Date(answer.headers.date ?? NaN);
        resolve({
          status: answer.statusCode ?? 0,
          date: Number.isNaN(date.getTime()) ? null : date,
          body: parsed(Buffer.concat(chunks).toString('utf8')),
        });
      });
    });
    sent.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
