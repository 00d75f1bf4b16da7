// Where the API server is and what convinces it. Kubernetes' own client library finds both,
// in a thread that ends with its answer: on every node of a cluster it would hold 70 MB.
import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { Worker } from 'node:worker_threads';
import type { KubeConfig } from '@kubernetes/client-node';

import { InputError, messageOf } from '../errors.js';
import { isInvented, loadKubeconfig, type ClusterAccess } from './kubeconfig.js';

export interface WayIn {
  readonly server: URL;
  /** Whom the server's certificate must name; undefined: the host that was configured. */
  readonly tlsServerName: string | undefined;
  /** What each request needs; with an agent of its own where a proxy is between. */
  options(): Promise<RequestOptions>;
}

export type FindWayIn = (access: ClusterAccess) => Promise<WayIn>;

/** What each request needs, in words that pass between threads. */
interface Credentials {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
  readonly auth?: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

const replaceable = ['ca', 'cert', 'key'] as const;

interface Found {
  readonly kind: 'found';
  readonly server: string;
  readonly tlsServerName: string | undefined;
  readonly credentials: Credentials;
  /** Whence some of them came: others replace these files, and each request looks again. */
  readonly files: Readonly<Partial<Record<(typeof replaceable)[number] | 'token', string>>>;
}

export type WayInAnswer =
  | Found
  /** A proxy, or a command that makes credentials: only the library itself can serve it. */
  | { readonly kind: 'live' }
  | { readonly kind: 'refused'; readonly what: string; readonly hint: string };

/** With the library in this process. */
export const findWayInHere: FindWayIn = async (access) => {
  const { config, server } = await readServer(access);
  const cluster = config.getCurrentCluster();
  return {
    server,
    tlsServerName: cluster?.tlsServerName,
    async options() {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      // The library makes one for each request, which keeps no connection.
      if (cluster?.proxyUrl === undefined) delete options.agent;
      return options;
    },
  };
};

/** With the library in a thread of its own, if what it finds is fixed. */
export const findWayIn: FindWayIn = async (access) => {
  const found = await askThread(access);
  if (found === undefined) return findWayInHere(access);
  const { server, tlsServerName } = found;
  let { credentials } = found;
  return {
    server: new URL(server),
    tlsServerName,
    options() {
      credentials = renewed(credentials, found.files);
      const { headers, ...others } = credentials;
      const given = Object.entries(others).filter(([, value]) => value !== undefined);
      return Promise.resolve({ ...Object.fromEntries(given), headers: { ...headers } });
    },
  };
};

/** With what the files say now; what one said last holds while it is not there. */
function renewed(known: Credentials, files: Found['files']): Credentials {
  const now = Object.fromEntries(
    replaceable.map((name) => [name, textOf(files[name]) ?? known[name]]),
  );
  const token = textOf(files.token)?.trim();
  const headers =
    token === undefined ? known.headers : { ...known.headers, Authorization: `Bearer ${token}` };
  return { ...known, ...now, headers };
}

function textOf(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Undefined when only the library itself can serve it. */
function askThread(access: ClusterAccess): Promise<Found | undefined> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL('way-in-thread.js', import.meta.url), {
      workerData: access,
    });
    thread.once('message', (answer: WayInAnswer) => {
      if (answer.kind === 'refused') reject(new InputError(answer.what, answer.hint));
      else resolve(answer.kind === 'found' ? answer : undefined);
    });
    thread.once('error', reject);
    // After its answer, or without one: the first word counts.
    thread.once('exit', () => {
      reject(new Error('the way into the cluster was not found'));
    });
  });
}

/** The thread's part. */
export async function answerWayIn(access: ClusterAccess): Promise<WayInAnswer> {
  try {
    const { config, server } = await readServer(access);
    // A file that is missing now may be there at the next request: the library looks each time.
    return (await fixed(config, server).catch(() => undefined)) ?? { kind: 'live' };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { kind: 'refused', what: error.message, hint: error.hint };
  }
}

async function fixed(config: KubeConfig, server: URL): Promise<Found | undefined> {
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  const provider = user?.authProvider as { config?: { tokenFile?: string } } | undefined;
  const tokenFile = provider?.config?.tokenFile;
  const isMade = user?.exec !== undefined || (provider !== undefined && tokenFile === undefined);
  if (cluster === null || cluster.proxyUrl !== undefined || isMade) return undefined;
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const { ca, cert, key, rejectUnauthorized } = options;
  // The library gives what it read of a file in bytes.
  const text = (pem: unknown) =>
    typeof pem === 'string' || Buffer.isBuffer(pem) ? pem.toString() : undefined;
  return {
    kind: 'found',
    server: server.href,
    tlsServerName: cluster.tlsServerName,
    credentials: {
      ...{ ca: text(ca), cert: text(cert), key: text(key), rejectUnauthorized },
      auth: options.auth ?? undefined,
      headers: options.headers as Record<string, string>,
    },
    files: {
      ...(cluster.caFile === undefined ? {} : { ca: cluster.caFile }),
      ...(user?.certFile === undefined ? {} : { cert: user.certFile }),
      ...(user?.keyFile === undefined ? {} : { key: user.keyFile }),
      ...(tokenFile === undefined ? {} : { token: tokenFile }),
    },
  };
}

async function readServer(
  access: ClusterAccess,
): Promise<{ readonly config: KubeConfig; readonly server: URL }> {
  let config: KubeConfig;
  try {
    config = await loadKubeconfig(access);
  } catch (error) {
    throw new InputError(
      `The way into the cluster cannot be read: ${messageOf(error)}.`,
      'Name a readable file with --kubeconfig, or serve a file with --services.',
      error,
    );
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null || isInvented(config)) {
    const which = access.context ?? config.getCurrentContext();
    throw new InputError(
      which === '' || which === 'loaded-context'
        ? 'No cluster is known: no kubeconfig was found, and this is not a pod with a service account.'
        : `The kubeconfig has no cluster for the context ${which}.`,
      'Name a file with --kubeconfig and a context with --context, or serve a file with --services.',
    );
  }
  try {
    return { config, server: new URL(cluster.server) };
  } catch (error) {
    throw new InputError(
      `The cluster's server ${cluster.server} is no URL.`,
      'Correct the kubeconfig.',
      error,
    );
  }
}
