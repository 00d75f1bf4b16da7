// One question at a time to the API server, for whoever looks at a cluster once: the whole
// answer, whatever its status. The agent's own lists and watches do not come this way.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';

import { InputError, messageOf } from '../errors.js';
import { isInPod, loadKubeconfig, type ClusterAccess } from './kubeconfig.js';

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

const answerMs = 5_000;
const mostBytes = 64 << 20;

/** Null where no cluster is named: neither a file, nor KUBECONFIG, nor a pod's own account. */
export async function openApi(access: ClusterAccess): Promise<Api | null> {
  // The library takes 0.4 s, which whoever has no cluster need not wait for.
  const isNamed = (access.kubeconfig ?? process.env['KUBECONFIG']) !== undefined;
  if (!isNamed && !isInPod()) return null;
  try {
    const config = await loadKubeconfig(access);
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
